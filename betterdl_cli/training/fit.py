"""Engine ``fit``: one seed at a time by Keras's ``model.fit``. The reference that other engines are held against."""

from __future__ import annotations

import gc
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from betterdl_cli.history import History, diverged_at
from betterdl_cli.record import BestEpoch, Fingerprints, RunRecord, Scores
from betterdl_cli.seeds import epoch_order
from betterdl_cli.spec import ArmSpec
from betterdl_cli.training.build import build_metric, build_model, has_penalty, weight_fingerprints
from betterdl_cli.training.controllers import (
    KeepBestWeights,
    ReportEpochs,
    StopWhenNotFinite,
    controller_callbacks,
)
from betterdl_cli.training.data import Part, Parts, load_parts

FINGERPRINTED_EPOCHS = 3


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind. ``predictions`` and ``weights`` are of the final model."""

    record: RunRecord
    history: History
    predictions: dict[str, NDArray[Any]]
    weights: dict[str, NDArray[Any]]


def train(
    arm: str,
    spec: ArmSpec,
    seed: int,
    environment: dict[str, Any],
    report: Callable[[int], None] = lambda _: None,
) -> Trained:
    """Train one run from its spec and seed. ``report`` hears the number of epochs done.

    Raises :class:`betterdl_cli.training.data.SplitError`, and whatever Keras raises.
    """
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)  # for what takes no seed of its own; everything of ours does
    parts = load_parts(spec.data, seed)
    model = build_model(spec, seed, parts.train.x.shape[1:], parts.task, parts.classes)
    weights_before = weight_fingerprints(model)
    penalised = has_penalty(model)
    rows_per_step = spec.training.validation_batch_size
    untrained = _score(model, parts, "train", rows_per_step)["loss"]
    penalty = float(sum(model.losses)) if penalised else 0.0
    reference = max((untrained if untrained is not None else 0.0) + penalty, constant_guess_loss(parts))
    orders: list[str] = []
    best = KeepBestWeights("val_loss") if parts.validation else None
    started = time.perf_counter()
    history = _fit(model, spec, seed, parts, orders, best, report)
    seconds = time.perf_counter() - started
    scores, predictions = _evaluate(model, parts, rows_per_step)
    final = {variable.path.removeprefix(f"{model.name}/"): np.asarray(variable) for variable in model.weights}
    epochs = history.epochs
    diverged = diverged_at(history["loss"], reference)
    record = RunRecord(
        arm=arm,
        seed=seed,
        spec=spec.digest,
        status="completed" if diverged is None else "diverged",
        epochs=epochs,
        diverged_epoch=diverged,
        stopped_early=epochs < spec.training.epochs and diverged is None,
        scores=scores,
        best=_best_epoch(model, best, parts, rows_per_step),
        reference_loss=reference if math.isfinite(reference) else None,
        penalised=penalised,
        parameters=model.count_params(),
        rows={name: part.rows for name, part in parts.named.items()},
        fingerprints=Fingerprints(split=parts.fingerprint, order=tuple(orders[:epochs]), weights=weights_before),
        seconds=round(seconds, 3),
        environment=environment,
    )
    del model, best
    gc.collect()
    return Trained(record, history, predictions, final)


def _fit(
    model: keras.Model,
    spec: ArmSpec,
    seed: int,
    parts: Parts,
    orders: list[str],
    best: KeepBestWeights | None,
    report: Callable[[int], None],
) -> History:
    training = spec.training
    steps = math.ceil(parts.train.rows / training.batch_size)
    model.steps_per_execution = steps  # a number that does not divide them would train more of them
    validation = None
    if parts.validation is not None:
        rows = tf.data.Dataset.from_tensor_slices((parts.validation.x, parts.validation.y))
        validation = rows.batch(training.validation_batch_size).cache()
    kept = [best] if best is not None else []
    result = model.fit(
        training_batches(parts.train, seed, training.batch_size, orders),
        epochs=training.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the batches already come in their order
        validation_data=validation,
        callbacks=[*controller_callbacks(spec.controllers), *kept, StopWhenNotFinite(), ReportEpochs(report)],
        verbose=0,
    )
    return History.from_mapping({name: [float(value) for value in column] for name, column in result.history.items()})


def training_batches(part: Part, seed: int, batch_size: int, orders: list[str]) -> tf.data.Dataset:
    """Batches of all epochs, one after the other, each epoch in its own order; the last batch may be smaller.

    The order of epoch e is ``epoch_order(seed, e, rows)`` whatever the arm or engine. Digests of the first orders
    are appended to ``orders`` as they are used.
    """

    def every_epoch() -> Iterator[NDArray[np.int32]]:
        epoch = 0
        while True:
            order = epoch_order(seed, epoch, part.rows)
            if epoch < FINGERPRINTED_EPOCHS and len(orders) == epoch:
                orders.append(hashlib.sha256(order.astype("<i4").tobytes()).hexdigest()[:16])
            yield order
            epoch += 1

    x, y = tf.constant(part.x), tf.constant(part.y)
    epochs = tf.data.Dataset.from_generator(
        every_epoch, output_signature=tf.TensorSpec(shape=(part.rows,), dtype=tf.int32)
    )
    batches = epochs.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    return batches.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows))).prefetch(tf.data.AUTOTUNE)


# ---- scores ----


def _predict(model: keras.Model, x: NDArray[np.float32], rows_per_step: int) -> NDArray[np.float32]:
    steps = range(0, len(x), rows_per_step)
    return np.concatenate([np.asarray(model(x[i : i + rows_per_step], training=False)) for i in steps])


def _metrics(parts: Parts, name: str, predictions: NDArray[np.float32]) -> dict[str, float | None]:
    y = parts.named[name].y
    loss = float(np.mean(np.asarray(keras.losses.get(parts.task.loss)(y, predictions))))
    metric = build_metric(parts.task)
    metric.update_state(y, predictions)
    values = {"loss": loss, parts.task.metric: float(metric.result())}
    # Keras computes in float32: the shortest number that is the same float32 (0.834, not 0.8339999914)
    return {key: float(str(np.float32(value))) if math.isfinite(value) else None for key, value in values.items()}


def _score(model: keras.Model, parts: Parts, name: str, rows_per_step: int) -> dict[str, float | None]:
    return _metrics(parts, name, _predict(model, parts.named[name].x, rows_per_step))


def _evaluate(model: keras.Model, parts: Parts, rows_per_step: int) -> tuple[Scores, dict[str, NDArray[Any]]]:
    """Scores of all parts in inference mode, without penalties, and what predictions.npz holds."""
    scores: Scores = {}
    stored: dict[str, NDArray[Any]] = {}
    for name, part in parts.named.items():
        predictions = _predict(model, part.x, rows_per_step)
        scores[name] = _metrics(parts, name, predictions)
        if name != "train":
            stored[name], stored[f"{name}_labels"] = predictions, part.y
    return scores, stored


def _best_epoch(model: keras.Model, best: KeepBestWeights | None, parts: Parts, rows_per_step: int) -> BestEpoch | None:
    if best is None or not best.epoch:
        return None
    model.set_weights(best.weights)
    scores = {name: _score(model, parts, name, rows_per_step) for name in parts.named}
    return BestEpoch(epoch=best.epoch, selected_on=best.monitor, scores=scores)


def constant_guess_loss(parts: Parts) -> float:
    """Training loss of the best constant prediction: entropy of the class shares in nats, or the variance."""
    y = parts.train.y
    if not parts.task.is_classification:
        return float(np.var(y))
    _, counts = np.unique(y, return_counts=True)
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)))
