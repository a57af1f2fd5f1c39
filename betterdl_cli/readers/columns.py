"""A table with one row per epoch and one column per metric: Keras CSVLogger, ``DataFrame.to_csv``, tab-separated files.

Source:
    Keras documentation, callbacks.CSVLogger. Missing cells are empty or `NA`.
"""

from __future__ import annotations

import csv
import math

from betterdl_cli.history import History
from betterdl_cli.readers.base import FormatError, Reader, keras_named

MISSING = {"", "na", "nan", "none", "null"}


class Columns(Reader):
    @classmethod
    def read(cls, text: str) -> History | None:
        if text.lstrip()[:1] in {"{", "["}:
            return None
        lines = [line for line in text.splitlines() if line.strip()]
        delimiter = next((mark for mark in (",", "\t", ";") if lines and mark in lines[0]), None)
        if delimiter is None:
            return None
        try:
            header, *rows = csv.reader(lines, delimiter=delimiter)
        except csv.Error as error:
            raise FormatError(f"expected a table of short cells, found a fault in it: {error}") from None
        names = [name.strip() for name in header]
        if not any("loss" in name.lower() or "acc" in name.lower() for name in names):
            return None
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise FormatError(f"expected different column names, found '{repeated[0]}' twice")
        _require_one_run(names, rows)
        columns: dict[str, list[float | None]] = {name: [] for name in names}
        for number, row in enumerate(rows, start=2):
            if len(row) != len(names):
                raise FormatError(f"row {number}: expected {len(names)} cells, found {len(row)}")
            for name, cell in zip(names, row, strict=True):
                columns[name].append(_number(cell, name, number))
        return keras_named(columns)


def _number(cell: str, name: str, row: int) -> float:
    if cell.strip().lower() in MISSING:
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise FormatError(f"row {row}, column '{name}': expected a number, found '{cell[:40]}'") from None


def _require_one_run(names: list[str], rows: list[list[str]]) -> None:
    """CSVLogger in append mode writes several runs below one another: which one is meant is not ours to guess."""
    if "epoch" not in names:
        return
    index = names.index("epoch")
    epochs = [row[index].strip() for row in rows if len(row) == len(names)]
    for number, epoch in enumerate(epochs[1:], start=3):
        if epoch == epochs[0] and epoch != epochs[number - 3]:
            raise FormatError(f"expected one run, found the epochs starting again at row {number}: split the file")
