"""1797 handwritten digits as 8×8 grey images with values 0 to 16, ten classes.

Source:
    scikit-learn, `sklearn.datasets.load_digits` (shipped with it): the test part of Alpaydin, Kaynak 1998, "Optical
    Recognition of Handwritten Digits", UCI Machine Learning Repository.
"""

from __future__ import annotations

from typing import ClassVar

from betterdl_cli.datasets.base import Dataset, Table, classification
from betterdl_cli.tasks import TaskName


class Digits(Dataset):
    task: ClassVar[TaskName] = "multiclass"
    rank: ClassVar[int] = 3

    def load(self) -> Table:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return classification(digits.images[..., None], digits.target)
