"""What is learned: the output layer, loss and metric that go with each task by the usual rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Task:
    """``loss`` and ``metric`` are Keras names; ``metric`` is what people read, ``loss`` what is minimised."""

    name: TaskName
    output_activation: str
    loss: str
    metric: str
    higher_is_better: bool

    @property
    def is_classification(self) -> bool:
        return self.name != "regression"

    @property
    def default_metric(self) -> str:
        """The primary metric: accuracy on the test set, or the loss there."""
        return f"test_{self.metric}" if self.is_classification else "test_loss"

    def recorded(self, *, validation: bool) -> tuple[str, ...]:
        """The metrics a history of this task has, and that can be monitored."""
        own = ("loss", self.metric)
        return own + tuple(f"val_{name}" for name in own) if validation else own


TASKS: dict[TaskName, Task] = {
    "binary": Task("binary", "sigmoid", "binary_crossentropy", "accuracy", True),
    "multiclass": Task("multiclass", "softmax", "sparse_categorical_crossentropy", "accuracy", True),
    "regression": Task("regression", "linear", "mean_squared_error", "mean_absolute_error", False),
}


def higher_is_better(metric: str) -> bool:
    """Direction of a metric such as ``test_accuracy`` or ``val_loss``."""
    return metric.rsplit("_", 1)[-1] in {"accuracy", "acc", "auc", "precision", "recall"}
