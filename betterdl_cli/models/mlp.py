"""Multilayer perceptron: dense hidden layers, then the output layer of the task.

Source:
    Goodfellow, Bengio, Courville 2016, "Deep Learning", chapter 6. Images are flattened first.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictInt

from betterdl_cli.models.base import OUTPUT, Activation, Model
from betterdl_cli.spec import LayerSpec


class MLP(Model):
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    example: ClassVar[dict[str, Any]] = {"hidden": [4]}

    hidden: tuple[Annotated[StrictInt, Field(ge=1, le=1_000_000)], ...] = Field(
        default=(50,), description="units of each hidden layer; [] is a linear model"
    )
    activation: Activation = Field(default="relu", description="of the hidden layers (a Keras name)")

    def layers(self, input_rank: int) -> tuple[LayerSpec, ...]:
        flatten = [LayerSpec(name="flatten", kind="Flatten")] if input_rank > 1 else []
        hidden = [
            LayerSpec(
                name=f"hidden_{number}",
                kind="Dense",
                arguments={"units": units, "activation": self.activation},
                block=f"hidden_{number}",
                hidden=True,
            )
            for number, units in enumerate(self.hidden, start=1)
        ]
        return (*flatten, *hidden, OUTPUT)
