"""Early stopping: end the training when the monitored metric has stopped improving.

Formula:
    stop after the first epoch t at which no value of `monitor` in the last `patience` epochs improved on the best
    before them by more than min_delta

When it helps:
    Validation loss falls, turns and rises: stopping near the turn keeps the better network and saves the rest of the
    training.

When it hurts:
    With little patience a noisy metric stops training early; slow late gains and a second descent are cut off.

Interactions:
    Scores of an arm that stops by its test set are optimistic: monitor a validation part. With
    restore_best_weights the final weights are those of the best epoch, otherwise of the last one. Give a
    learning-rate schedule less patience than this.

Reference:
    Prechelt 1998, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade, Springer LNCS 1524.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, StrictBool, StrictInt, StrictStr

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import Area, Technique


class EarlyStopping(Technique):
    area: ClassVar[Area] = "better generalisation"
    example: ClassVar[dict[str, Any]] = {"monitor": "loss", "patience": 0, "min_delta": 10.0}

    monitor: StrictStr = Field(default="val_loss", description="metric of the history to watch")
    patience: StrictInt = Field(default=10, ge=0, description="epochs without improvement before stopping")
    min_delta: float = Field(default=0.0, ge=0, description="smaller changes do not count as improvement")
    restore_best_weights: StrictBool = Field(default=False, description="end with the weights of the best epoch")
    start_from_epoch: StrictInt = Field(default=0, ge=0, description="epochs to wait before watching")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        return arm.with_controller({"kind": "early_stopping", **self.model_dump()})
