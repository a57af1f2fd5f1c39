"""What a dataset is: parameters that load into one table of inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from betterdl_cli.registry import Registry
from betterdl_cli.spec import Frozen
from betterdl_cli.tasks import TaskName


@dataclass(frozen=True)
class Table:
    """``x``: float32, shape (rows, ...); ``y``: shape (rows,), class numbers from 0 (int32) or float32 values."""

    x: NDArray[np.float32]
    y: NDArray[Any]
    classes: int = 0

    @property
    def rows(self) -> int:
        return len(self.x)


class Dataset(Frozen):
    """A dataset kind. ``rank``: axes of one input (1: columns, 3: height, width, channels)."""

    task: ClassVar[TaskName]
    rank: ClassVar[int] = 1
    example: ClassVar[dict[str, Any]] = {}

    def load(self) -> Table:
        """All rows, always the same for the same parameters. scikit-learn is imported in here."""
        raise NotImplementedError


def classification(x: Any, y: Any) -> Table:
    """A table from scikit-learn's arrays, in the types that training uses."""
    return Table(np.asarray(x, np.float32), np.asarray(y, np.int32), classes=int(np.max(y)) + 1)


DATASETS = Registry(package=__package__ or "", base=Dataset, what="dataset")
