"""Two interleaved half circles in the plane, one class each, with Gaussian noise.

Source:
    scikit-learn, `sklearn.datasets.make_moons`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, StrictInt

from betterdl_cli.datasets.base import Dataset, Table, classification
from betterdl_cli.tasks import TaskName


class MakeMoons(Dataset):
    task: ClassVar[TaskName] = "binary"
    example: ClassVar[dict[str, Any]] = {"n_samples": 60}

    n_samples: StrictInt = Field(default=1000, ge=4, le=10_000_000, description="rows, half of them per class")
    noise: float = Field(default=0.2, ge=0, description="standard deviation of the noise")
    random_state: StrictInt = Field(default=1, ge=0, le=2**32 - 1, description="seed of the points")

    def load(self) -> Table:
        from sklearn.datasets import make_moons

        return classification(*make_moons(**self.model_dump()))
