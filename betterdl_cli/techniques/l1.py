"""L1 weight regularisation: add the sum of absolute hidden weights to the loss.

Formula:
    loss + l1 · Σ |w|, over the kernels of the hidden layers (biases and the output layer are left alone)

When it helps:
    Like L2 against overfitting; it also drives many weights to (nearly) zero, which leaves a sparse network.

When it hurts:
    The pull does not shrink with the weight: a coefficient that is fine for L2 can erase a layer. The reported loss
    includes the penalty, so losses with and without it do not compare; accuracy does.

Interactions:
    Pruning follows naturally. Inputs on different scales are penalised unequally: normalise them first.

Reference:
    Tibshirani 1996, "Regression Shrinkage and Selection via the Lasso", JRSS B 58; Goodfellow, Bengio, Courville
    2016, "Deep Learning", section 7.1.2.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques._penalty import add_penalty
from betterdl_cli.techniques.base import Area, Technique


class L1(Technique):
    area: ClassVar[Area] = "better generalisation"

    l1: float = Field(default=0.01, gt=0, description="coefficient of the absolute weights")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        return add_penalty(arm, l1=self.l1)
