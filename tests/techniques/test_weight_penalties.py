"""l1, l2 and l1_l2, which share where and how a penalty is put."""

from __future__ import annotations

import pytest

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import NotApplicableError, Technique
from betterdl_cli.techniques.l1 import L1
from betterdl_cli.techniques.l1_l2 import L1L2
from betterdl_cli.techniques.l2 import L2


@pytest.mark.parametrize(
    ("technique", "penalty"),
    [(L1(l1=0.5), {"l1": 0.5}), (L2(l2=0.25), {"l2": 0.25}), (L1L2(l1=0.5, l2=0.25), {"l1": 0.5, "l2": 0.25})],
)
def test_penalty_is_on_the_kernels_of_hidden_layers_only(
    mlp: ArmSpec, technique: Technique, penalty: dict[str, float]
) -> None:
    first, second, output = technique.apply(mlp).layers
    assert first.arguments == {"units": 8, "activation": "relu", "kernel_regularizer": penalty}
    assert second.arguments["kernel_regularizer"] == penalty
    assert output.arguments == {}


def test_penalty_is_on_convolutions_too(cnn: ArmSpec) -> None:
    changed = L2().apply(cnn)
    assert [layer.name for layer in changed.layers if "kernel_regularizer" in layer.arguments] == ["conv_1"]


def test_l1_and_l2_merge_in_any_order_to_l1_l2(mlp: ArmSpec) -> None:
    both = L1L2(l1=0.5, l2=0.25).apply(mlp)
    assert L2(l2=0.25).apply(L1(l1=0.5).apply(mlp)) == both
    assert L1(l1=0.5).apply(L2(l2=0.25).apply(mlp)) == both


@pytest.mark.parametrize(("first", "second", "name"), [(L1(), L1(), "l1"), (L2(), L1L2(), "l2"), (L1L2(), L1(), "l1")])
def test_second_penalty_of_a_kind_is_refused(mlp: ArmSpec, first: Technique, second: Technique, name: str) -> None:
    with pytest.raises(
        NotApplicableError, match=f"expected one {name} penalty per layer, found a second one on 'hidden_1'"
    ):
        second.apply(first.apply(mlp))
