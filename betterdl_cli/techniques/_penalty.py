"""Weight penalties on the hidden kernels: what l1, l2 and l1_l2 share."""

from __future__ import annotations

from betterdl_cli.spec import ArmSpec, LayerSpec
from betterdl_cli.techniques.base import NotApplicableError, require_hidden


def add_penalty(arm: ArmSpec, **coefficients: float) -> ArmSpec:
    """Put coefficients (``l1=``, ``l2=``) on the kernel of every hidden layer, beside what is there."""
    require_hidden(arm, "a weight penalty")

    def penalised(hidden: LayerSpec) -> LayerSpec:
        present = hidden.arguments.get("kernel_regularizer") or {}
        if twice := sorted(set(present) & set(coefficients)):
            raise NotApplicableError(
                f"expected one {twice[0]} penalty per layer, found a second one on '{hidden.name}': remove one of them"
            )
        return hidden.model_copy(
            update={"arguments": {**hidden.arguments, "kernel_regularizer": {**present, **coefficients}}}
        )

    return arm.map_hidden(penalised)
