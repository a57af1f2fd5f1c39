"""Batch normalisation: standardise the output of every hidden layer over the batch, then scale and shift it.

Formula:
    y = gamma · (x − mean_batch) / sqrt(var_batch + epsilon) + beta; in validation and prediction the running mean and
    variance (momentum 0.99) are used instead of those of the batch

When it helps:
    Training gets faster and tolerates higher learning rates, above all in deep networks.

When it hurts:
    With few rows per batch the estimates are noisy; with one row per batch a dense layer outputs beta only and is
    dead (refused). Short trainings suffer from running averages that have not settled.

Interactions:
    Less need for a careful initialiser, for dropout and for a learning-rate schedule. Placed behind the activation.

Reference:
    Ioffe, Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", ICML.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from betterdl_cli.spec import ArmSpec, LayerSpec
from betterdl_cli.techniques.base import Area, Technique, require_hidden


class BatchNormalization(Technique):
    area: ClassVar[Area] = "better learning"

    momentum: float = Field(default=0.99, ge=0, lt=1, description="of the running mean and variance")
    epsilon: float = Field(default=1e-3, gt=0, description="added to the variance")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        require_hidden(arm, "batch_norm")

        def normalisation(hidden: LayerSpec) -> LayerSpec:
            return LayerSpec(
                name=f"{hidden.name}_batch_norm",
                kind="BatchNormalization",
                arguments=self.model_dump(),
                block=hidden.name,
            )

        return arm.insert_after_hidden(normalisation, end_of_block=False)
