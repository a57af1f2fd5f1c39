"""The state of a group in the middle of its training, on disk: two generations, each written whole."""

from __future__ import annotations

import pathlib
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import tree
from numpy.typing import NDArray

from betterdl_cli import files


@dataclass(frozen=True)
class Progress:
    """``state`` of the program after ``epochs``, metrics so far, shape (epochs, metrics, width), seconds spent."""

    state: dict[str, Any]
    epochs: int
    history: NDArray[np.float32]
    seconds: float


class Checkpoint:
    """One file per generation. ``identity`` tells which training it belongs to; another one is not loaded."""

    def __init__(self, path: pathlib.Path, identity: str, every: float = 1.0) -> None:
        """``every``: seconds between saves at least, stretched so that saving takes a twentieth of the time."""
        self._paths = (path, path.with_name(f"{path.name}.before"))
        self._identity, self._every = identity, every
        self._next = time.monotonic() + every

    def save(self, progress: Callable[[], Progress]) -> None:
        """Write a new generation if the last one is old enough."""
        if time.monotonic() < self._next:
            return
        started = time.monotonic()
        now = progress()
        arrays = {f"state_{index}": value for index, value in enumerate(tree.flatten(now.state))}
        newest, before = self._paths
        if newest.exists():
            newest.replace(before)
        files.write_arrays(
            newest,
            {
                "identity": np.array(self._identity),
                "epochs": np.array(now.epochs),
                "seconds": np.array(now.seconds),
                "history": now.history,
                **arrays,
            },
        )
        self._next = time.monotonic() + max(self._every, 20 * (time.monotonic() - started))

    def load(self, like: dict[str, Any]) -> Progress | None:
        """The newest generation that is whole and of this training, shaped ``like`` the initial state; or None."""
        for path in self._paths:
            try:
                with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                    if str(stored["identity"]) != self._identity:
                        continue
                    flat = [stored[f"state_{index}"] for index in range(len(tree.flatten(like)))]
                    return Progress(
                        tree.pack_sequence_as(like, flat),
                        int(stored["epochs"]),
                        stored["history"],
                        float(stored["seconds"]),
                    )
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
        return None

    def remove(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)
