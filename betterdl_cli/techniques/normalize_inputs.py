"""Input normalisation: bring every input column to the same scale, fitted on the training part only.

Formula:
    standard: (x − mean) / sd; minmax: (x − min) / (max − min), per column, with the numbers of the training part

When it helps:
    Columns on different scales: one learning rate then suits all weights, and activations start in their useful range.

When it hurts:
    Hardly ever; minmax is sensitive to single extreme values, and standard amplifies columns that are nearly constant.

Interactions:
    First in the order of techniques. SELU and input noise expect standardised inputs.

Reference:
    LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", in Neural Networks: Tricks of the Trade.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import Area, NotApplicableError, Technique


class NormalizeInputs(Technique):
    area: ClassVar[Area] = "better learning"

    kind: Literal["standard", "minmax"] = Field(default="standard", description="zero mean and unit sd, or 0 to 1")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        if arm.data.preprocessing:
            raise NotApplicableError("expected inputs that are normalised once, found a second normalize_inputs")
        return arm.with_preprocessing({"kind": self.kind})
