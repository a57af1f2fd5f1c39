"""Learning-rate schedule: change the learning rate while training.

Formula:
    kind plateau: when `monitor` has not improved by more than min_delta for `patience` epochs,
    rate ← max(rate · factor, min_lr)

When it helps:
    A rate that is right at the start is often too high to settle at the end: the loss jumps about its minimum and
    comes down at once when the rate is cut.

When it hurts:
    With little patience the rate is cut on noise, before the network got anywhere, and training stalls for good.

Interactions:
    Not together with a schedule inside the optimizer. Early stopping needs more patience than the schedule, else it
    stops before a cut can show its effect. Batch normalisation often makes it less needed.

Reference:
    Goodfellow, Bengio, Courville 2016, "Deep Learning", section 8.3.1; Keras documentation, ReduceLROnPlateau.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, StrictInt, StrictStr

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import Area, Technique


class LearningRateSchedule(Technique):
    area: ClassVar[Area] = "better learning"
    example: ClassVar[dict[str, Any]] = {
        "kind": "plateau",
        "monitor": "loss",
        "patience": 1,
        "min_delta": 10.0,
    }

    kind: Literal["plateau"] = Field(description="plateau: cut the rate when the monitored metric stalls")
    monitor: StrictStr = Field(default="val_loss", description="metric of the history to watch")
    factor: float = Field(default=0.1, gt=0, lt=1, description="the rate is multiplied by this")
    patience: StrictInt = Field(default=10, ge=0, description="epochs without improvement before a cut")
    min_delta: float = Field(default=1e-4, ge=0, description="smaller changes do not count as improvement")
    cooldown: StrictInt = Field(default=0, ge=0, description="epochs to wait after a cut before counting again")
    min_lr: float = Field(default=0.0, ge=0, description="lower bound of the rate")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        parameters = self.model_dump()
        del parameters["kind"]
        return arm.with_controller({"kind": "reduce_on_plateau", **parameters})
