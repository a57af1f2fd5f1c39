import gc
import math
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from specs import CIRCLES, DIGITS, spec, with_techniques

from betterdl_cli.history import History
from betterdl_cli.seeds import epoch_order
from betterdl_cli.spec import ArmSpec
from betterdl_cli.training.data import load_parts

ADAM = {"kind": "adam", "learning_rate": 0.01}
MASKS = {"dropout": {"rate": 0.5}, "gaussian_noise": {"stddev": 0.1}}


TRAINED: dict[tuple[str, int], Any] = {}


def train(engine: ModuleType, arm: ArmSpec, seed: int = 3) -> Any:
    """A run as trained when it was first asked for."""
    key = (arm.digest, seed)
    if key not in TRAINED:
        TRAINED[key] = train_again(engine, arm, seed)
    return TRAINED[key]


def train_again(engine: ModuleType, arm: ArmSpec, seed: int = 3, report: Any = lambda _: None) -> Any:
    return engine.train("arm", arm, seed, {}, report)


def plain_fit(arm: ArmSpec, seed: int = 3) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """What a course does: ``model.fit`` on arrays, here epoch by epoch in the order of ``epoch_order``."""
    import keras

    from betterdl_cli.training.build import build_model

    keras.utils.clear_session(free_memory=False)
    parts = load_parts(arm.data, seed)
    model = build_model(arm, seed, parts.train.x.shape[1:], parts.task, parts.classes)
    history: dict[str, list[float]] = {}
    for epoch in range(arm.training.epochs):
        order = epoch_order(seed, epoch, parts.train.rows)
        result = model.fit(
            parts.train.x[order],
            parts.train.y[order],
            batch_size=arm.training.batch_size,
            shuffle=False,
            validation_data=(parts.validation.x, parts.validation.y) if parts.validation else None,
            validation_batch_size=arm.training.validation_batch_size,
            verbose=0,
        )
        for name, values in result.history.items():
            history.setdefault(name, []).extend(values)
    return history, {variable.path.partition("/")[2]: np.asarray(variable) for variable in model.weights}


def assert_same_bits(first: Any, second: Any) -> None:
    assert first.history.to_mapping() == second.history.to_mapping()
    assert first.weights.keys() == second.weights.keys()
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert all(np.array_equal(first.predictions[name], second.predictions[name]) for name in first.predictions)
    assert first.record.model_copy(update={"seconds": 0.0}) == second.record.model_copy(update={"seconds": 0.0})


# ---- the reference: plain Keras ----


@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(spec(), id="plain, last batch of one row"),
        pytest.param(spec(batch_size=33), id="full batch"),
        pytest.param(spec(batch_size=1000), id="batch larger than the data"),
        pytest.param(spec(techniques={"batch_norm": {}, **MASKS}, optimizer=ADAM), id="norm, masks, adam"),
        pytest.param(spec(techniques={"l1_l2": {}}, hidden=(6, 5)), id="penalties, two layers"),
        pytest.param(spec(DIGITS, model="cnn", epochs=2, batch_size=32, techniques={"dropout": {}}), id="cnn"),
    ],
)
def test_training_has_the_bits_of_the_plain_course_call(engine: ModuleType, arm: ArmSpec) -> None:
    history, weights = plain_fit(arm)
    trained = train(engine, arm)
    assert trained.history.to_mapping() == History.from_mapping(history).to_mapping()
    assert trained.weights.keys() == weights.keys()
    assert all(np.array_equal(trained.weights[name], weights[name]) for name in weights)


def test_every_epoch_makes_as_many_updates_as_it_has_batches(engine: ModuleType) -> None:
    weights = []
    for boundaries in ([14, 15], [14, 20]):  # 3 epochs of 5 updates: rates after the 15th are never used
        rate = {"kind": "piecewise_constant_decay", "boundaries": boundaries, "values": [0.1, 0.5, 0.9]}
        arm = spec(optimizer={"kind": "sgd", "learning_rate": rate})
        weights.append(train(engine, arm).weights["output/kernel"].tolist())
    assert weights[0] == weights[1]
    rate["boundaries"] = [13, 20]
    other = train(engine, spec(optimizer={"kind": "sgd", "learning_rate": rate})).weights["output/kernel"]
    assert other.tolist() != weights[0]


# ---- repeats ----


def test_the_same_spec_and_seed_give_the_same_bits_also_after_other_runs(engine: ModuleType) -> None:
    arm = spec(techniques={"batch_norm": {}, **MASKS})
    first = train(engine, arm)
    train_again(engine, spec(DIGITS, model="cnn", epochs=1, techniques=MASKS), seed=8)
    assert_same_bits(train_again(engine, arm), first)


def test_seeds_differ(engine: ModuleType) -> None:
    one, two = (train(engine, spec(), seed=seed) for seed in (3, 2))
    assert one.history["loss"][0] != two.history["loss"][0]
    assert one.record.fingerprints.order != two.record.fingerprints.order
    assert one.record.fingerprints.split == two.record.fingerprints.split


@pytest.mark.parametrize(("epochs", "recorded"), [(1, 1), (2, 2), (12, 3)])
def test_the_order_of_as_many_epochs_as_were_trained_is_recorded(
    engine: ModuleType, epochs: int, recorded: int
) -> None:
    assert len(train(engine, spec(epochs=epochs), seed=1).record.fingerprints.order) == recorded


def test_more_epochs_continue_the_history_of_fewer(engine: ModuleType) -> None:
    short, long = (train(engine, spec(epochs=epochs), seed=1) for epochs in (2, 12))
    assert long.history["loss"][:2].tolist() == short.history["loss"].tolist()


# ---- controllers ----


def test_early_stopping_stops_where_kerass_callback_does(engine: ModuleType) -> None:
    import keras

    stopping = {"monitor": "val_loss", "patience": 3, "min_delta": 0.002, "restore_best_weights": True}
    arm = spec(epochs=40)
    losses = train(engine, arm).history["val_loss"]
    callback = keras.callbacks.EarlyStopping(**stopping)
    callback.set_model(_Stoppable())
    callback.on_train_begin()
    stopped = next(epoch + 1 for epoch, loss in enumerate(losses) if _stops(callback, epoch, loss))
    trained = train(engine, with_techniques(arm, {"early_stopping": stopping}))
    assert 3 < stopped < 40
    assert trained.history.epochs == trained.record.epochs == stopped
    assert trained.record.stopped_early
    assert trained.history["val_loss"].tolist() == losses[:stopped].tolist()


class _Stoppable:
    stop_training = False

    def get_weights(self) -> list[Any]:
        return []

    def get_metrics_result(self) -> dict[str, Any]:
        return {}


def _stops(callback: Any, epoch: int, loss: float) -> bool:
    callback.on_epoch_end(epoch, {"val_loss": loss})
    return bool(callback.model.stop_training)


def test_restored_weights_are_those_of_the_best_epoch(engine: ModuleType) -> None:
    stopping = {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}
    trained = train(engine, spec(epochs=40, techniques={"early_stopping": stopping}))
    best = int(np.argmin(trained.history["val_loss"]))
    assert best + 1 < trained.history.epochs
    assert trained.record.best.epoch == best + 1
    assert trained.record.scores == trained.record.best.scores
    assert trained.record.scores["validation"]["loss"] == pytest.approx(trained.history["val_loss"][best], abs=1e-6)


def test_the_rate_is_cut_where_kerass_callback_cuts_it(engine: ModuleType) -> None:
    plateau = {"kind": "plateau", "monitor": "loss", "patience": 2, "min_delta": 0.05, "factor": 0.5, "cooldown": 1}
    trained = train(engine, spec(epochs=12, techniques={"lr_schedule": plateau}))
    expected, rate, best, wait, cooldown = [], 0.1, math.inf, 0, 0
    for loss in trained.history["loss"]:
        expected.append(rate)
        if cooldown > 0:
            cooldown, wait = cooldown - 1, 0
        if loss < best - 0.05:
            best, wait = loss, 0
        elif cooldown <= 0:
            wait += 1
            if wait >= 2:
                rate, wait, cooldown = rate * 0.5, 0, 1
    assert len(set(expected)) > 2
    assert trained.history["learning_rate"] == pytest.approx(expected)


# ---- divergence ----


def test_an_explosion_without_nan_is_recorded_with_its_epoch(engine: ModuleType) -> None:
    trained = train(engine, spec(epochs=5, optimizer={"kind": "sgd", "learning_rate": 1e6}))
    record = trained.record
    assert np.isfinite(trained.history["loss"]).all()
    assert (record.status, record.diverged_epoch, record.epochs) == ("diverged", 1, 5)
    assert not record.stopped_early
    assert trained.history["loss"].min() > 3 * record.reference_loss


def test_a_loss_that_is_no_number_ends_the_training_and_is_recorded(engine: ModuleType) -> None:
    arm = spec(epochs=30, techniques={"l2": {"l2": 10.0}}, optimizer={"kind": "sgd", "learning_rate": 1e6})
    trained = train(engine, arm)
    record, losses = trained.record, trained.history["loss"]
    assert not math.isfinite(losses[-1])
    assert np.isfinite(losses[:-1]).all()
    assert record.status == "diverged"
    assert record.diverged_epoch == record.epochs == trained.history.epochs < 30
    assert not record.stopped_early
    assert None in trained.history.to_mapping()["loss"]


def test_a_penalty_alone_does_not_make_a_divergence(engine: ModuleType) -> None:
    arm = spec(epochs=2, hidden=(64,), techniques={"l2": {"l2": 5.0}}, optimizer={"kind": "sgd", "learning_rate": 1e-4})
    record = train(engine, arm).record
    assert record.penalised
    assert record.reference_loss > 10  # the penalty of the initial weights is in it
    assert record.status == "completed"


# ---- scores ----


def binary_scores(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    p = np.clip(predictions.astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    return {"loss": float(loss), "accuracy": float(np.mean((predictions > 0.5) == (labels > 0.5)))}


def test_scores_are_those_of_the_stored_predictions_without_the_penalty(engine: ModuleType) -> None:
    trained = train(engine, spec(techniques={"dropout": {"rate": 0.9}, "l2": {"l2": 0.5}}))
    stored = trained.predictions
    assert set(stored) == {"validation", "validation_labels", "test", "test_labels"}
    for part in ("validation", "test"):
        by_hand = binary_scores(stored[part], stored[f"{part}_labels"])
        assert trained.record.scores[part] == pytest.approx(by_hand, abs=1e-6)
    penalty = 0.5 * float(np.sum(trained.weights["hidden_1/kernel"] ** 2))
    score = trained.record.scores["validation"]["loss"]
    assert penalty > 0.001
    assert trained.history["val_loss"][-1] == pytest.approx(score + penalty, abs=1e-6)


def test_the_train_score_is_in_inference_mode(engine: ModuleType) -> None:
    arm = spec(techniques={"dropout": {"rate": 0.9}})
    trained = train(engine, arm)
    x = load_parts(arm.data, 3).train.x.astype(np.float64)
    hidden = np.maximum(x @ trained.weights["hidden_1/kernel"] + trained.weights["hidden_1/bias"], 0)
    output = 1 / (1 + np.exp(-(hidden @ trained.weights["output/kernel"] + trained.weights["output/bias"])))
    by_hand = binary_scores(output, load_parts(arm.data, 3).train.y)
    assert trained.record.scores["train"] == pytest.approx(by_hand, abs=1e-5)


def test_scores_of_classes_are_those_of_the_stored_predictions(engine: ModuleType) -> None:
    trained = train(engine, spec(DIGITS, model="cnn", epochs=2, batch_size=32))
    predictions, labels = trained.predictions["test"], trained.predictions["test_labels"]
    assert predictions.shape == (50, 10)
    by_hand = {
        "loss": float(-np.mean(np.log(predictions[np.arange(50), labels]))),
        "accuracy": float(np.mean(predictions.argmax(axis=1) == labels)),
    }
    assert trained.record.scores["test"] == pytest.approx(by_hand, abs=1e-5)
    assert trained.record.rows == {"train": 100, "validation": 50, "test": 50}


def test_the_best_epoch_has_the_scores_of_a_training_cut_there(engine: ModuleType) -> None:
    trained = train(engine, spec(epochs=12), seed=1)
    best = trained.record.best
    assert (best.epoch, best.selected_on) == (int(np.argmin(trained.history["val_loss"])) + 1, "val_loss")
    assert 1 < best.epoch < 12
    assert train(engine, spec(epochs=best.epoch), seed=1).record.scores == best.scores


def test_without_validation_data_no_epoch_is_the_best(engine: ModuleType) -> None:
    split = CIRCLES.split.model_copy(update={"validation": None})
    trained = train(engine, spec(CIRCLES.model_copy(update={"split": split})))
    assert trained.record.best is None
    assert set(trained.record.scores) == {"train", "test"}
    assert set(trained.history) == {"loss", "accuracy"}
    assert set(trained.predictions) == {"test", "test_labels"}


def test_a_divergence_is_measured_against_a_constant_guess_or_the_start(engine: ModuleType) -> None:
    labels = load_parts(CIRCLES, 4).train.y
    assert (labels.sum(), len(labels)) in {(16, 33), (17, 33)}
    entropy = -(16 / 33) * math.log(16 / 33) - (17 / 33) * math.log(17 / 33)
    assert untrained_loss(4) < entropy < untrained_loss(5)
    assert train(engine, spec(epochs=1), seed=4).record.reference_loss == pytest.approx(entropy)
    assert train(engine, spec(epochs=1), seed=5).record.reference_loss == pytest.approx(untrained_loss(5))


def untrained_loss(seed: int) -> float:
    from betterdl_cli.training.build import build_model

    parts = load_parts(CIRCLES, seed)
    model = build_model(spec(), seed, (2,), parts.task, parts.classes)
    return binary_scores(np.asarray(model(parts.train.x)), parts.train.y)["loss"]


# ---- manners ----


def test_epochs_are_reported_one_after_the_other(engine: ModuleType) -> None:
    heard: list[int] = []
    train_again(engine, spec(epochs=4), report=heard.append)
    assert heard == [1, 2, 3, 4]


def test_runs_leave_no_models_and_no_threads_behind(engine: ModuleType) -> None:
    import keras

    train_again(engine, spec(epochs=1))
    threads = threading.active_count()
    for seed in range(2):
        train_again(engine, spec(epochs=1), seed=seed)
    gc.collect()
    assert not [item for item in gc.get_objects() if type(item) is keras.Sequential]
    assert threading.active_count() <= threads


def test_training_prints_nothing(engine: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    train_again(engine, spec(epochs=2))
    assert capfd.readouterr().out == ""
