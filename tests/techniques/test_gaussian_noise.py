from __future__ import annotations

import pytest

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import NotApplicableError
from betterdl_cli.techniques.gaussian_noise import GaussianNoise


def test_noise_on_the_input_comes_first(mlp: ArmSpec) -> None:
    layer = GaussianNoise(stddev=0.3).apply(mlp).layers[0]
    assert (layer.name, layer.kind, layer.arguments, layer.block) == (
        "input_noise",
        "GaussianNoise",
        {"stddev": 0.3},
        "",
    )


def test_noise_behind_every_hidden_layer(mlp: ArmSpec) -> None:
    changed = GaussianNoise(where="hidden").apply(mlp)
    assert [layer.name for layer in changed.layers] == [
        "hidden_1", "hidden_1_noise", "hidden_2", "hidden_2_noise", "output"
    ]  # fmt: skip


def test_noise_behind_the_pooling_of_a_convolution(cnn: ArmSpec) -> None:
    changed = GaussianNoise(where="hidden").apply(cnn)
    assert [layer.name for layer in changed.layers][:3] == ["conv_1", "conv_1_pool", "conv_1_noise"]


def test_noise_on_the_input_needs_no_hidden_layer(mlp: ArmSpec) -> None:
    linear = mlp.with_layers(mlp.layers[-1:])
    assert len(GaussianNoise(where="input").apply(linear).layers) == 2
    with pytest.raises(NotApplicableError, match="gaussian_noise with where: hidden"):
        GaussianNoise(where="hidden").apply(linear)
