"""Small arms to apply techniques to."""

from __future__ import annotations

import pytest

from betterdl_cli.models.base import MODELS
from betterdl_cli.spec import ArmSpec, DataSpec, TrainingSpec


@pytest.fixture
def mlp() -> ArmSpec:
    """Two hidden layers: hidden_1, hidden_2, output."""
    layers = MODELS.get("mlp").model_validate({"hidden": (8, 4)}).layers(1)
    return ArmSpec(data=DataSpec(kind="make_circles"), layers=layers, training=TrainingSpec())


@pytest.fixture
def cnn() -> ArmSpec:
    """One block: conv_1, conv_1_pool, flatten, output."""
    layers = MODELS.get("cnn").model_validate({"filters": (2,)}).layers(3)
    return ArmSpec(data=DataSpec(kind="digits"), layers=layers, training=TrainingSpec())
