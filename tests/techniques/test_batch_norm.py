from __future__ import annotations

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.batch_norm import BatchNormalization


def test_normalises_behind_every_dense_layer(mlp: ArmSpec) -> None:
    changed = BatchNormalization().apply(mlp)
    assert [layer.name for layer in changed.layers] == [
        "hidden_1", "hidden_1_batch_norm", "hidden_2", "hidden_2_batch_norm", "output"
    ]  # fmt: skip


def test_normalises_a_convolution_before_its_pooling(cnn: ArmSpec) -> None:
    changed = BatchNormalization().apply(cnn)
    assert [layer.name for layer in changed.layers] == [
        "conv_1", "conv_1_batch_norm", "conv_1_pool", "flatten", "output"
    ]  # fmt: skip


def test_parameters_reach_the_layer(mlp: ArmSpec) -> None:
    layer = BatchNormalization(momentum=0.9, epsilon=1e-5).apply(mlp).layers[1]
    assert (layer.kind, layer.block, layer.hidden) == ("BatchNormalization", "hidden_1", False)
    assert layer.arguments == {"momentum": 0.9, "epsilon": 1e-5}
