"""From a data spec and a run seed to arrays: load, split, and fit the preprocessing on the training part only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betterdl_cli import seeds
from betterdl_cli.datasets.base import DATASETS, Table
from betterdl_cli.errors import Fault
from betterdl_cli.spec import DataSpec, SplitSpec
from betterdl_cli.tasks import TASKS, Task

Rows = NDArray[np.int64]


class SplitError(ValueError):
    """The data do not allow this split; ``part`` is the key of the split at fault, or empty."""

    def __init__(self, message: str, part: str = "") -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True)
class Split:
    """Row numbers of each part; ``validation`` is None without a validation part."""

    train: Rows
    validation: Rows | None
    test: Rows

    def fingerprint(self, table: Table) -> str:
        """Digest of the data and of the rows of each part: equal for two runs that saw the same examples."""
        hashed = hashlib.sha256(table.x.tobytes() + table.y.tobytes())
        for name in ("train", "validation", "test"):
            rows = getattr(self, name)
            hashed.update(name.encode() + (b"-" if rows is None else rows.astype("<i8").tobytes()))
        return hashed.hexdigest()[:16]


@dataclass(frozen=True)
class Part:
    """``x``: float32, shape (rows, ...); ``y``: shape (rows,) for classes, else (rows, 1)."""

    x: NDArray[np.float32]
    y: NDArray[Any]

    @property
    def rows(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Parts:
    """The data of one run."""

    task: Task
    classes: int
    fingerprint: str
    split: Split
    train: Part
    validation: Part | None
    test: Part

    @property
    def named(self) -> dict[str, Part]:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def load_table(spec: DataSpec) -> Table:
    """All rows of a dataset; the last few tables are kept, because the arms of an experiment share them."""
    return _load(spec.kind, json.dumps(spec.parameters, sort_keys=True))


@lru_cache(maxsize=2)
def _load(kind: str, parameters: str) -> Table:
    return DATASETS.get(kind).model_validate_json(parameters).load()


def load_parts(spec: DataSpec, run_seed: int) -> Parts:
    """The parts of one run. Raises :class:`SplitError`."""
    table, task = load_table(spec), TASKS[DATASETS.get(spec.kind).task]
    split = split_rows(spec, table, task, run_seed)
    inputs = [None if rows is None else table.x[rows] for rows in (split.train, split.validation, split.test)]
    for step in spec.preprocessing:
        inputs = _scaled(step["kind"], inputs)
    targets = targets_of(table, task)
    train, validation, test = (
        None if rows is None or x is None else Part(np.ascontiguousarray(x), targets[rows])
        for rows, x in zip((split.train, split.validation, split.test), inputs, strict=True)
    )
    assert train is not None and test is not None
    return Parts(task, table.classes, split.fingerprint(table), split, train, validation, test)


def targets_of(table: Table, task: Task) -> NDArray[Any]:
    """Targets as the losses take them: class numbers, shape (rows,), or float32, shape (rows, 1)."""
    return table.y if task.name == "multiclass" else table.y.astype(np.float32)[:, None]


def _scaled(kind: str, inputs: Sequence[NDArray[np.float32] | None]) -> list[NDArray[np.float32] | None]:
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    scaler = {"standard": StandardScaler, "minmax": MinMaxScaler}[kind]()
    train = inputs[0]
    assert train is not None
    scaler.fit(train.reshape(len(train), -1).astype(np.float64))
    return [
        None
        if x is None
        else scaler.transform(x.reshape(len(x), -1).astype(np.float64)).reshape(x.shape).astype(np.float32)
        for x in inputs
    ]


# ---- splitting ----


def split_rows(spec: DataSpec, table: Table, task: Task, run_seed: int) -> Split:
    """Row numbers of the parts. Raises :class:`SplitError` when there are not enough rows, or classes are missing."""
    split, sizes = spec.split, _sizes(spec.split, table.rows)
    if sum(sizes.values()) > table.rows:
        asked = " + ".join(f"{name} {rows}" for name, rows in sizes.items())
        raise SplitError(
            f"expected at most {table.rows} rows, as many as there are; found {asked} = {sum(sizes.values())}"
        )
    if split.order == "given":
        edges = np.cumsum([0, *sizes.values()])
        parts = {name: np.arange(low, high) for name, low, high in zip(sizes, edges[:-1], edges[1:], strict=True)}
    else:
        seed = seeds.split_seed(split.seed, run_seed if split.resplit else None)
        parts = _shuffled(sizes, table, task, seed)
    if spec.row_limit is not None:
        parts = {name: _first_of_each_class(rows, table.y, task, spec.row_limit) for name, rows in parts.items()}
    if task.is_classification:
        _require_all_classes(parts, table)
    validation = parts["test"] if split.validation == "test" else parts.get("validation")
    return Split(parts["train"], validation, parts["test"])


def _sizes(split: SplitSpec, rows: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name in ("train", "validation", "test"):
        size = getattr(split, name)
        if isinstance(size, float):
            sizes[name] = int(size * rows + 1e-9)
        elif isinstance(size, int):
            sizes[name] = size
    for name, size in sizes.items():
        if size < 1:
            raise SplitError(f"expected at least one row, found {getattr(split, name)} of {rows} rows", name)
    return sizes


def _shuffled(sizes: dict[str, int], table: Table, task: Task, seed: int) -> dict[str, Rows]:
    """Random parts, with the same shares of the classes in each."""
    from sklearn.model_selection import train_test_split

    rest, parts, names = np.arange(table.rows), {}, list(sizes)
    for step, name in enumerate(names[:-1]):
        following = sum(sizes[later] for later in names[step + 1 :])
        try:
            parts[name], rest = train_test_split(
                rest,
                train_size=sizes[name],
                test_size=following,
                stratify=table.y[rest] if task.is_classification else None,
                random_state=seeds.derive("part", seed, name),
            )
        except ValueError:  # of stratification
            counts = ", ".join(f"{rows} of class {label}" for label, rows in enumerate(np.bincount(table.y)))
            asked = ", ".join(f"{part} {rows}" for part, rows in sizes.items())
            raise SplitError(
                f"expected rows of every class in every part, found too few: {asked} rows, from {counts}", name
            ) from None
    parts[names[-1]] = rest
    return parts


def _first_of_each_class(rows: Rows, y: NDArray[Any], task: Task, limit: int) -> Rows:
    """At most ``limit`` rows in their order: the first of every class, then the second of every class, and so on."""
    if len(rows) <= limit:
        return rows
    if not task.is_classification:
        return rows[:limit]
    labels, turn = y[rows], np.zeros(len(rows), np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        turn[mine] = np.arange(len(mine))
    chosen: Rows = rows[np.sort(np.argsort(turn, kind="stable")[:limit])]
    return chosen


def _require_all_classes(parts: dict[str, Rows], table: Table) -> None:
    for name, rows in parts.items():
        missing = sorted(set(range(table.classes)) - set(table.y[rows].tolist()))
        if missing:
            listed = ", ".join(str(label) for label in missing[:10])
            raise SplitError(
                f"expected every class in the {name} part ({len(rows)} rows), found none of class {listed}",
                name,
            )


def data_faults(spec: DataSpec, run_seeds: Sequence[int]) -> list[Fault]:
    """What is wrong with the data and their split, known only once they are loaded; paths are those of the config."""
    try:
        table, task = load_table(spec), TASKS[DATASETS.get(spec.kind).task]
        for seed in run_seeds if spec.split.resplit else run_seeds[:1]:
            split_rows(spec, table, task, seed)
    except SplitError as error:
        return [Fault(str(error), ("data", "split", error.part) if error.part else ("data", "split"))]
    return []
