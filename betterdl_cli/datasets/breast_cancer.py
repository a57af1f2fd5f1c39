"""569 breast tumours described by 30 measurements on very different scales: malignant (0) or benign (1).

Source:
    scikit-learn, `sklearn.datasets.load_breast_cancer` (shipped with it): Wolberg, Mangasarian, Street, Street 1995,
    "Breast Cancer Wisconsin (Diagnostic)", UCI Machine Learning Repository.
"""

from __future__ import annotations

from typing import ClassVar

from betterdl_cli.datasets.base import Dataset, Table, classification
from betterdl_cli.tasks import TaskName


class BreastCancer(Dataset):
    task: ClassVar[TaskName] = "binary"

    def load(self) -> Table:
        from sklearn.datasets import load_breast_cancer

        data = load_breast_cancer()
        return classification(data.data, data.target)
