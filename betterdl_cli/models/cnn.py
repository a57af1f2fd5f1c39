"""Convolutional network for images: blocks of convolution and max pooling, then the output layer of the task.

Source:
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictInt

from betterdl_cli.models.base import OUTPUT, Activation, Model
from betterdl_cli.spec import LayerSpec


class CNN(Model):
    ranks: ClassVar[tuple[int, ...]] = (3,)
    example: ClassVar[dict[str, Any]] = {"filters": [2]}

    filters: tuple[Annotated[StrictInt, Field(ge=1, le=65_536)], ...] = Field(
        default=(16, 32),
        min_length=1,
        description="filters of each block; every block halves height and width",
    )
    kernel_size: StrictInt = Field(default=3, ge=1, le=99, description="height and width of the kernels, in pixels")
    activation: Activation = Field(default="relu", description="of the convolutions (a Keras name)")

    def layers(self, input_rank: int) -> tuple[LayerSpec, ...]:  # noqa: ARG002 - images only
        blocks: list[LayerSpec] = []
        for number, filters in enumerate(self.filters, start=1):
            name = f"conv_{number}"
            arguments = {
                "filters": filters,
                "kernel_size": self.kernel_size,
                "padding": "same",
                "activation": self.activation,
            }
            pooling = {"pool_size": 2, "padding": "same"}
            blocks.append(LayerSpec(name=name, kind="Conv2D", arguments=arguments, block=name, hidden=True))
            blocks.append(LayerSpec(name=f"{name}_pool", kind="MaxPooling2D", arguments=pooling, block=name))
        return (*blocks, LayerSpec(name="flatten", kind="Flatten"), OUTPUT)
