"""Gaussian noise: in training, add zero-mean normal noise to the input or to every hidden layer's output.

Formula:
    y = x + stddev · n, n ~ N(0, 1) per value; the identity in validation and prediction

When it helps:
    Small training sets: the network never sees the same point twice and cannot fit single points; the learned
    function becomes smoother.

When it hurts:
    Noise larger than the distances that matter hides the pattern. Unscaled inputs make one stddev too small for some
    columns and too large for others.

Interactions:
    Normalise the inputs first, so that stddev means the same for every column. Works like an L2 penalty on the
    gradient of the function.

Reference:
    Bishop 1995, "Training with Noise is Equivalent to Tikhonov Regularization", Neural Computation 7(1).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from betterdl_cli.spec import ArmSpec, LayerSpec
from betterdl_cli.techniques.base import Area, Technique, require_hidden


class GaussianNoise(Technique):
    area: ClassVar[Area] = "better generalisation"
    example: ClassVar[dict[str, Any]] = {"stddev": 0.1, "where": "input"}

    stddev: float = Field(default=0.1, gt=0, description="standard deviation, in the unit of what it is added to")
    where: Literal["input", "hidden"] = Field(default="input", description="on the input, or after hidden layers")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        if self.where == "input":
            return arm.insert_first(self._layer("input_noise", block=""))
        require_hidden(arm, "gaussian_noise with where: hidden")
        return arm.insert_after_hidden(
            lambda hidden: self._layer(f"{hidden.name}_noise", block=hidden.name), end_of_block=True
        )

    def _layer(self, name: str, block: str) -> LayerSpec:
        return LayerSpec(name=name, kind="GaussianNoise", arguments={"stddev": self.stddev}, block=block)
