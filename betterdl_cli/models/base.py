"""What a model is: hyperparameters that turn into a list of layers, as plain data."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from betterdl_cli.registry import Registry
from betterdl_cli.spec import Frozen, LayerSpec

Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "swish", "tanh", "tanh_shrink",
]  # fmt: skip


class Model(Frozen):
    """A model kind. ``ranks`` are the input ranks it takes (1: columns, 3: images of height, width, channels)."""

    ranks: ClassVar[tuple[int, ...]]
    example: ClassVar[dict[str, Any]] = {}

    def layers(self, input_rank: int) -> tuple[LayerSpec, ...]:
        """The layers in order, ending with ``Output``; ``input_rank`` is one of ``ranks``."""
        raise NotImplementedError


OUTPUT = LayerSpec(name="output", kind="Output")

MODELS = Registry(package=__package__ or "", base=Model, what="model")
