"""L1 and L2 weight regularisation together (the elastic net).

Formula:
    loss + l1 · Σ |w| + l2 · Σ w², over the kernels of the hidden layers

When it helps:
    Sparse weights as with L1, but groups of correlated inputs are kept or dropped together instead of at random.

When it hurts:
    Two coefficients to choose. As with both parts, too much of it underfits, and the reported loss includes the
    penalty.

Interactions:
    As for l1 and l2; not together with either of them on the same layer.

Reference:
    Zou, Hastie 2005, "Regularization and Variable Selection via the Elastic Net", JRSS B 67.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques._penalty import add_penalty
from betterdl_cli.techniques.base import Area, Technique


class L1L2(Technique):
    area: ClassVar[Area] = "better generalisation"

    l1: float = Field(default=0.01, gt=0, description="coefficient of the absolute weights")
    l2: float = Field(default=0.01, gt=0, description="coefficient of the squared weights")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        return add_penalty(arm, l1=self.l1, l2=self.l2)
