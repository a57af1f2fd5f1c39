from __future__ import annotations

import json
from typing import Any

import pytest

from betterdl_cli.models.base import MODELS
from betterdl_cli.spec import LayerSpec


def layers(name: str, rank: int, **parameters: Any) -> tuple[LayerSpec, ...]:
    return MODELS.get(name).model_validate_json(json.dumps(parameters)).layers(rank)


def named(found: tuple[LayerSpec, ...]) -> list[str]:
    return [f"{layer.name} {layer.kind}" for layer in found]


def test_mlp_of_columns() -> None:
    found = layers("mlp", 1, hidden=[8, 4], activation="tanh")
    assert named(found) == ["hidden_1 Dense", "hidden_2 Dense", "output Output"]
    assert [layer.arguments for layer in found[:2]] == [
        {"units": 8, "activation": "tanh"},
        {"units": 4, "activation": "tanh"},
    ]
    assert [layer.hidden for layer in found] == [True, True, False]


@pytest.mark.parametrize("rank", [2, 3])
def test_mlp_flattens_what_has_several_axes(rank: int) -> None:
    assert named(layers("mlp", rank)) == ["flatten Flatten", "hidden_1 Dense", "output Output"]


def test_mlp_without_hidden_layers_is_linear() -> None:
    assert named(layers("mlp", 1, hidden=[])) == ["output Output"]


def test_cnn_of_two_blocks() -> None:
    found = layers("cnn", 3, filters=[4, 8], kernel_size=5)
    assert named(found) == [
        "conv_1 Conv2D", "conv_1_pool MaxPooling2D", "conv_2 Conv2D", "conv_2_pool MaxPooling2D", "flatten Flatten",
        "output Output",
    ]  # fmt: skip
    assert found[2].arguments == {"filters": 8, "kernel_size": 5, "padding": "same", "activation": "relu"}
    assert found[3].arguments == {"pool_size": 2, "padding": "same"}
    assert [layer.block for layer in found[:4]] == ["conv_1", "conv_1", "conv_2", "conv_2"]
    assert [layer.name for layer in found if layer.hidden] == ["conv_1", "conv_2"]


def test_cnn_takes_images_only_and_mlp_everything() -> None:
    assert MODELS.get("cnn").ranks == (3,)
    assert MODELS.get("mlp").ranks == (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mlp", {"hidden": [0]}),
        ("mlp", {"hidden": [1.5]}),
        ("mlp", {"hidden": 8}),
        ("mlp", {"activation": "rlu"}),
        ("cnn", {"filters": []}),
        ("cnn", {"filters": [0]}),
        ("cnn", {"kernel_size": 0}),
        ("cnn", {"kernel_size": [3, 3]}),
    ],
)
def test_hyperparameters_that_are_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        layers(name, 3, **given)
