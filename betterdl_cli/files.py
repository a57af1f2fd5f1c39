"""Files that appear whole or not at all: written beside their place, flushed, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from betterdl_cli.errors import BdlError


class WriteError(BdlError):
    """A file could not be written: no space, no permission."""

    def __init__(self, path: pathlib.Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {reason(error, path.parent)}")


def reason(error: OSError, folder: pathlib.Path) -> str:
    """Why nothing can be written in a folder."""
    if isinstance(error, FileExistsError):  # what mkdir says
        return f"expected a directory, found the file {folder}"
    return error.strerror or str(error)


def write(path: pathlib.Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file through ``fill(stream)``. Raises :class:`WriteError`; then ``path`` is as it was before."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: pathlib.Path, text: str) -> None:
    write(path, lambda stream: stream.write(text.encode()))


def write_json(path: pathlib.Path, plain: Any) -> None:
    """Strict JSON: a non-finite number is a programming error here (ValueError)."""
    write_text(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, Any]) -> None:
    """An .npz of plain arrays, never pickled objects."""

    def fill(stream: IO[bytes]) -> None:
        np.savez(stream, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})

    write(path, fill)


def read_json(path: pathlib.Path) -> Any:
    """Strict JSON. Raises ValueError for anything else, OSError when it cannot be read."""

    def refuse(word: str) -> float:
        raise ValueError(f"expected strict JSON, found {word}")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("expected JSON, found it nested too deeply") from None


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
