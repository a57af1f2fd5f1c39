"""What a training leaves behind, whatever the engine: scores of the final model and its best epoch, the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from betterdl_cli.history import History, diverged_at
from betterdl_cli.record import BestEpoch, Fingerprints, RunRecord, Scores
from betterdl_cli.spec import ArmSpec
from betterdl_cli.training.build import build_metric, has_penalty, weight_fingerprints
from betterdl_cli.training.data import Parts

FINGERPRINTED_EPOCHS = 3
BEST_BY = "val_loss"


@dataclass(frozen=True)
class Trained:
    """``predictions`` and ``weights`` are of the final model."""

    record: RunRecord
    history: History
    predictions: dict[str, NDArray[Any]]
    weights: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Untrained:
    """What has to be known of a model before its training: digests of its weights, and the reference of divergence."""

    weights: dict[str, str]
    reference_loss: float

    @classmethod
    def of(cls, model: keras.Model, parts: Parts, spec: ArmSpec) -> Untrained:
        return cls(weight_fingerprints(model), reference_loss(model, parts, spec.training.validation_batch_size))


@dataclass(frozen=True)
class Ending:
    """How a training ended. ``best_epoch`` counts from 1 (0: none); ``load_best`` puts its weights into the model."""

    history: History
    orders: Sequence[str]
    seconds: float
    best_epoch: int
    load_best: Callable[[], None]


def conclude(
    arm: str,
    spec: ArmSpec,
    seed: int,
    model: keras.Model,
    parts: Parts,
    before: Untrained,
    ending: Ending,
    environment: dict[str, Any],
) -> Trained:
    """Score a trained ``model``, which holds its final weights (and those of its best epoch afterwards)."""
    rows_per_step = spec.training.validation_batch_size
    scores, predictions = evaluate(model, parts, rows_per_step)
    weights = {variable.path.removeprefix(f"{model.name}/"): np.asarray(variable) for variable in model.weights}
    best = None
    if ending.best_epoch:
        ending.load_best()
        best = BestEpoch(epoch=ending.best_epoch, selected_on=BEST_BY, scores=evaluate(model, parts, rows_per_step)[0])
    epochs = ending.history.epochs
    diverged = diverged_at(ending.history["loss"], before.reference_loss)
    record = RunRecord(
        arm=arm,
        seed=seed,
        spec=spec.digest,
        status="completed" if diverged is None else "diverged",
        epochs=epochs,
        diverged_epoch=diverged,
        stopped_early=epochs < spec.training.epochs and diverged is None,
        scores=scores,
        best=best,
        reference_loss=before.reference_loss if math.isfinite(before.reference_loss) else None,
        penalised=has_penalty(model),
        parameters=model.count_params(),
        rows={name: part.rows for name, part in parts.named.items()},
        fingerprints=Fingerprints(split=parts.fingerprint, order=tuple(ending.orders[:epochs]), weights=before.weights),
        seconds=round(ending.seconds, 3),
        environment=environment,
    )
    return Trained(record, ending.history, predictions, weights)


# ---- scores ----


def predict(model: keras.Model, x: NDArray[np.float32], rows_per_step: int) -> NDArray[np.float32]:
    """Outputs in inference mode, shape (rows, units)."""
    steps = range(0, len(x), rows_per_step)
    return np.concatenate([np.asarray(model(x[i : i + rows_per_step], training=False)) for i in steps])


def metrics_of(parts: Parts, name: str, predictions: NDArray[np.float32]) -> dict[str, float | None]:
    """Loss (without penalties) and metric of one part; None for a value that is not finite."""
    y = parts.named[name].y
    loss = float(np.mean(np.asarray(keras.losses.get(parts.task.loss)(y, predictions))))
    metric = build_metric(parts.task)
    metric.update_state(y, predictions)
    values = {"loss": loss, parts.task.metric: float(metric.result())}
    # Keras computes in float32: the shortest number that is the same float32 (0.834, not 0.8339999914)
    return {key: float(str(np.float32(value))) if math.isfinite(value) else None for key, value in values.items()}


def evaluate(model: keras.Model, parts: Parts, rows_per_step: int) -> tuple[Scores, dict[str, NDArray[Any]]]:
    """Scores of all parts, and what predictions.npz holds."""
    scores: Scores = {}
    stored: dict[str, NDArray[Any]] = {}
    for name, part in parts.named.items():
        predictions = predict(model, part.x, rows_per_step)
        scores[name] = metrics_of(parts, name, predictions)
        if name != "train":
            stored[name], stored[f"{name}_labels"] = predictions, part.y
    return scores, stored


def reference_loss(model: keras.Model, parts: Parts, rows_per_step: int) -> float:
    """What a training loss is held against to call it diverged: see :func:`betterdl_cli.history.diverged_at`."""
    untrained = metrics_of(parts, "train", predict(model, parts.train.x, rows_per_step))["loss"]
    penalty = float(sum(np.asarray(loss) for loss in model.losses)) if model.losses else 0.0
    return max((untrained if untrained is not None else 0.0) + penalty, constant_guess_loss(parts))


def constant_guess_loss(parts: Parts) -> float:
    """Training loss of the best constant prediction: entropy of the class shares in nats, or the variance."""
    y = parts.train.y
    if not parts.task.is_classification:
        return float(np.var(y))
    _, counts = np.unique(y, return_counts=True)
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)))
