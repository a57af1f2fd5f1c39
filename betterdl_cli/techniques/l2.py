"""L2 weight regularisation: add the sum of squared hidden weights to the loss.

Formula:
    loss + l2 · Σ w², over the kernels of the hidden layers (biases and the output layer are left alone)

When it helps:
    Networks far larger than their data need: small weights make a smooth function that follows single points less.

When it hurts:
    Too large a coefficient underfits: the penalty outweighs the data. The reported loss includes the penalty, so
    losses with and without it do not compare; accuracy does.

Interactions:
    With adaptive optimizers (Adam) it is not the same as weight decay. Pointless directly before batch normalisation,
    which undoes the scale of the weights.

Reference:
    Krogh, Hertz 1992, "A Simple Weight Decay Can Improve Generalization", NeurIPS; Goodfellow, Bengio, Courville
    2016, "Deep Learning", section 7.1.1.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques._penalty import add_penalty
from betterdl_cli.techniques.base import Area, Technique


class L2(Technique):
    area: ClassVar[Area] = "better generalisation"

    l2: float = Field(default=0.01, gt=0, description="coefficient of the squared weights")

    def apply(self, arm: ArmSpec) -> ArmSpec:
        return add_penalty(arm, l2=self.l2)
