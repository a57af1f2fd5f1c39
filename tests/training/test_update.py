"""Every Keras optimizer: the pure update against Keras's own, on the same gradients."""

from typing import Any

import keras
import numpy as np
import pytest

from betterdl_cli.optimizers import OPTIMIZERS
from betterdl_cli.training.build import build_optimizer
from betterdl_cli.training.update import Update

STEPS = 7
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.3},
    "clipvalue": {"clipvalue": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.3},
    "moving average": {"use_ema": True, "ema_momentum": 0.9},
    "moving average written back": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 3},
    "accumulation and average": {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.5},
}
SCHEDULE = {"kind": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 5}


def small_model() -> keras.Model:
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, kernel_constraint="max_norm"), keras.layers.Dense(1)]
    )


def arguments(kind: str, **changes: Any) -> dict[str, Any]:
    return {"kind": kind, **OPTIMIZERS[kind](**changes).model_dump()}


def by_keras(plain: dict[str, Any], start: list[np.ndarray], gradients: list[list[np.ndarray]]) -> list[np.ndarray]:
    model = small_model()
    model.set_weights(start)
    optimizer = build_optimizer(plain)
    optimizer.build(model.trainable_variables)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], model.trainable_variables)
    optimizer.finalize_variable_values(model.trainable_variables)
    return [np.asarray(weights) for weights in model.trainable_variables]


def by_update(plain: dict[str, Any], start: list[np.ndarray], gradients: list[list[np.ndarray]]) -> list[np.ndarray]:
    update = Update(plain, small_model())
    weights, state = [keras.ops.convert_to_tensor(w) for w in start], update.initial(start)
    for step in gradients:
        weights, state = update.apply(state, [keras.ops.convert_to_tensor(g) for g in step], weights)
    return [np.asarray(w) for w in update.final(weights, state)]


@pytest.fixture
def start() -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=w.shape).astype(np.float32) for w in small_model().get_weights()]


@pytest.fixture
def gradients(start: list[np.ndarray]) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(2)
    return [[generator.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(STEPS)]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_update_is_that_of_keras(
    kind: str, setting: str, start: list[np.ndarray], gradients: list[list[np.ndarray]]
) -> None:
    plain = arguments(kind, **SETTINGS[setting])
    for ours, theirs in zip(by_update(plain, start, gradients), by_keras(plain, start, gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-7)


def test_a_schedule_moves_with_the_steps(start: list[np.ndarray], gradients: list[list[np.ndarray]]) -> None:
    plain = arguments("sgd", learning_rate=SCHEDULE)
    for ours, theirs in zip(by_update(plain, start, gradients), by_keras(plain, start, gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-7)


def test_the_state_of_an_unused_average_is_empty(start: list[np.ndarray]) -> None:
    state = Update(arguments("adam"), small_model()).initial(start)
    assert (state["average"], state["accumulated"]) == ([], [])
