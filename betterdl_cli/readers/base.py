"""What a reader is: it recognises a history by its content, and reads it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from betterdl_cli.errors import UsageError
from betterdl_cli.history import History
from betterdl_cli.registry import Card, Registry

MAX_BYTES = 100 << 20
KERAS_NAMES = {"acc": "accuracy", "val_acc": "val_accuracy", "lr": "learning_rate"}
NOT_METRICS = {"epoch", "epochs", "step", "", "unnamed: 0"}


class FormatError(ValueError):
    """The content is of the reader's format, but no history can be read from it; the text says why."""


class Reader:
    """One format. A new format is one file in this folder with one subclass."""

    @classmethod
    def read(cls, text: str) -> History | None:
        """The history, or None when the content is of another format. Raises :class:`FormatError`."""
        raise NotImplementedError


READERS = Registry(package=__package__ or "", base=Reader, what="reader")


def read_history(path: pathlib.Path) -> History:
    """A history file of any known format. Raises :class:`UsageError` with the reason."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: expected a history of at most {MAX_BYTES >> 20} MiB, found a larger file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected a history as text (UTF-8), found other bytes") from None
    for _, reader in READERS:
        try:
            history = reader.read(text)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None
        if history is not None:
            return history
    found = "something else" if text.strip() else "nothing in it"
    known = "".join(f"\n  {Card.of(reader).summary.replace('`', '')}" for _, reader in READERS)
    raise UsageError(f"{path}: expected a training history, found {found}. What can be read:{known}")


def keras_named(columns: Mapping[str, Sequence[float | None]]) -> History:
    """A history under Keras's names, without columns that count epochs."""
    named: dict[str, Sequence[float | None]] = {}
    for column, values in columns.items():
        name = KERAS_NAMES.get(column.strip(), column.strip())
        if name.lower() in NOT_METRICS:
            continue
        if name in named:
            raise FormatError(f"expected different metrics, found '{name}' twice")
        named[name] = values
    if not any(named.values()):
        raise FormatError("expected a history with at least one epoch, found none")
    return History.from_mapping(named)
