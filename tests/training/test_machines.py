"""State machines against Keras's own callbacks, fed the same metrics."""

import math
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betterdl_cli.training.machines import EarlyStopping, ReduceOnPlateau, build_machines

VALUES = st.lists(
    st.one_of(
        st.floats(0, 4, width=32),
        st.sampled_from([0.5, 0.5 + 1e-4, 0.5 - 1e-4, 1.0, 0.25]).map(lambda value: float(np.float32(value))),
        st.just(math.nan),
        st.just(math.inf),
    ),
    min_size=1,
    max_size=25,
)
DELTAS = st.sampled_from([0.0, 1e-7, 1e-4, 0.01, 0.1, 0.5])


class Model(SimpleNamespace):
    """As much of a model as the callbacks touch."""

    def get_weights(self) -> int:
        return int(self.epoch)

    def set_weights(self, weights: int) -> None:
        self.restored = weights


def model(metric: str, learning_rate: float = 0.1) -> Model:

    found = Model(stop_training=False, epoch=-1, restored=None, metrics=[])
    found.optimizer = SimpleNamespace(learning_rate=np.float32(learning_rate))
    return found


def early_stopping_by_keras(values: list[float], mode: str, **arguments: Any) -> tuple[int | None, int | None]:
    """The epoch at whose end it stops, and the epoch whose weights it restores; None for neither."""
    callback = keras.callbacks.EarlyStopping(monitor="m", mode=mode, restore_best_weights=True, **arguments)
    trained = model("m")
    callback.set_model(trained)
    callback.on_train_begin()
    stopped = None
    for epoch, value in enumerate(values):
        trained.epoch = epoch
        callback.on_epoch_end(epoch, {"m": value})
        if trained.stop_training:
            stopped = epoch
            break
    callback.on_train_end()
    return stopped, trained.restored


def early_stopping_by_machine(values: list[float], monitor: str, **arguments: Any) -> tuple[int | None, int | None]:
    machine = EarlyStopping(monitor=monitor, restore_best_weights=True, **arguments)
    state, restored = machine.initial(1), None
    for epoch, value in enumerate(values):
        metrics = {monitor: np.array([value], np.float32)}
        state, actions = machine.after_epoch(state, np.array([epoch], np.int32), metrics)
        if bool(actions.keep[0]):
            restored = epoch
        if bool(actions.stop[0]):
            return epoch, restored
    return None, restored


def rates_by_keras(values: list[float], mode: str, **arguments: Any) -> list[float]:
    callback = keras.callbacks.ReduceLROnPlateau(monitor="m", mode=mode, **arguments)
    trained = model("m")
    callback.set_model(trained)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"m": value})
        trained.optimizer.learning_rate = np.float32(trained.optimizer.learning_rate)
        rates.append(float(trained.optimizer.learning_rate))
    return rates


def rates_by_machine(values: list[float], monitor: str, **arguments: Any) -> list[float]:
    machine = ReduceOnPlateau(monitor=monitor, **arguments)
    table = machine.rates(np.float32(0.1))
    state = machine.initial(1)
    state["most"] = np.full(1, len(table) - 1, np.int32)
    rates = []
    for epoch, value in enumerate(values):
        metrics = {monitor: np.array([value], np.float32)}
        state, _ = machine.after_epoch(state, np.array([epoch], np.int32), metrics)
        rates.append(float(table[int(state["reductions"][0])]))
    return rates


@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("val_accuracy", "max")])
@settings(max_examples=150, deadline=None)
@given(values=VALUES, patience=st.integers(0, 5), min_delta=DELTAS, start_from_epoch=st.integers(0, 4))
def test_early_stopping_decides_as_keras(
    monitor: str, mode: str, values: list[float], patience: int, min_delta: float, start_from_epoch: int
) -> None:
    arguments = {"patience": patience, "min_delta": min_delta, "start_from_epoch": start_from_epoch}
    assert early_stopping_by_machine(values, monitor, **arguments) == early_stopping_by_keras(values, mode, **arguments)


@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("val_accuracy", "max")])
@settings(max_examples=150, deadline=None)
@given(
    values=VALUES,
    patience=st.integers(0, 4),
    min_delta=DELTAS,
    cooldown=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    min_lr=st.sampled_from([0.0, 1e-3, 0.05, 0.1, 0.5]),
)
def test_reduce_on_plateau_decides_as_keras(
    monitor: str,
    mode: str,
    values: list[float],
    patience: int,
    min_delta: float,
    cooldown: int,
    factor: float,
    min_lr: float,
) -> None:
    arguments = {
        "patience": patience,
        "min_delta": min_delta,
        "cooldown": cooldown,
        "factor": factor,
        "min_lr": min_lr,
    }
    assert rates_by_machine(values, monitor, **arguments) == rates_by_keras(values, mode, **arguments)


def test_patience_counts_the_epochs_without_improvement() -> None:
    arguments = {"patience": 2, "min_delta": 0.0, "start_from_epoch": 0}
    assert early_stopping_by_machine([1.0, 0.5, 0.6, 0.7, 0.1], "loss", **arguments) == (3, 1)


def test_seeds_decide_for_themselves() -> None:
    machine = EarlyStopping("loss", 1, 0.0, False, 0)
    state = machine.initial(2)
    state, _ = machine.after_epoch(state, np.array([0, 0]), {"loss": np.array([1.0, 1.0], np.float32)})
    _, actions = machine.after_epoch(state, np.array([1, 1]), {"loss": np.array([0.5, 2.0], np.float32)})
    assert np.asarray(actions.stop).tolist() == [False, True]


def test_rates_end_at_the_lower_bound() -> None:
    machine = ReduceOnPlateau("loss", factor=0.1, patience=1, min_delta=0.0, cooldown=0, min_lr=0.002)
    np.testing.assert_array_equal(machine.rates(0.1), np.array([0.1, 0.01, 0.002], np.float32))


def test_machines_are_built_from_a_spec() -> None:
    (machine,) = build_machines([{"kind": "reduce_on_plateau", "monitor": "val_loss", "factor": 0.5, "patience": 3,
                                  "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}])  # fmt: skip
    assert isinstance(machine, ReduceOnPlateau)
    assert machine.patience == 3
