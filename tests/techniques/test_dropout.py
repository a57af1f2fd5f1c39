from __future__ import annotations

import pytest

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import NotApplicableError
from betterdl_cli.techniques.dropout import Dropout


def test_drops_behind_every_dense_layer(mlp: ArmSpec) -> None:
    changed = Dropout(rate=0.2).apply(mlp)
    assert [layer.name for layer in changed.layers] == [
        "hidden_1", "hidden_1_dropout", "hidden_2", "hidden_2_dropout", "output"
    ]  # fmt: skip
    assert changed.layers[1].arguments == {"rate": 0.2}


def test_drops_behind_the_pooling_of_a_convolution(cnn: ArmSpec) -> None:
    changed = Dropout(rate=0.2).apply(cnn)
    assert [layer.name for layer in changed.layers] == [
        "conv_1", "conv_1_pool", "conv_1_dropout", "flatten", "output"
    ]  # fmt: skip


@pytest.mark.parametrize(("retention", "rate"), [(0.8, 0.2), (0.9, 0.1), (0.7, 0.3), (0.25, 0.75)])
def test_retention_is_one_minus_the_rate_to_the_last_digit(mlp: ArmSpec, retention: float, rate: float) -> None:
    assert Dropout(retention=retention).apply(mlp) == Dropout(rate=rate).apply(mlp)


def test_half_is_dropped_by_default() -> None:
    assert Dropout().dropped == 0.5
    assert Dropout() == Dropout(rate=0.5)


def test_model_without_a_hidden_layer_is_refused(mlp: ArmSpec) -> None:
    with pytest.raises(
        NotApplicableError, match="expected a model with a hidden layer to apply dropout to, found none"
    ):
        Dropout().apply(mlp.with_layers(mlp.layers[-1:]))
