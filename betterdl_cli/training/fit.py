"""Engine ``fit``: one seed at a time by Keras's ``model.fit``. The reference that other engines are held against."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any

import keras

from betterdl_cli.history import History
from betterdl_cli.seeds import in_stream
from betterdl_cli.spec import ArmSpec
from betterdl_cli.training.build import build_model
from betterdl_cli.training.controllers import (
    KeepBestWeights,
    ReportEpochs,
    StopWhenNotFinite,
    controller_callbacks,
)
from betterdl_cli.training.data import Parts, load_parts
from betterdl_cli.training.feed import training_batches, validation_batches
from betterdl_cli.training.outcome import BEST_BY, Ending, Trained, Untrained, conclude


def train(
    arm: str,
    spec: ArmSpec,
    seed: int,
    environment: dict[str, Any],
    report: Callable[[int], None] = lambda _: None,
    *,
    jit: bool = False,
) -> Trained:
    """Train one run from its spec and seed. ``report`` hears the number of epochs done; ``jit`` as in build_model
    (on backends other than TensorFlow always).

    Raises :class:`betterdl_cli.training.data.SplitError`, and whatever Keras raises.
    """
    keras.utils.clear_session(free_memory=False)
    own = in_stream(seed, spec.seed_stream)
    keras.utils.set_random_seed(own)  # for what takes no seed of its own; everything of ours does
    parts = load_parts(spec.data, seed)
    jit = jit or keras.backend.backend() != "tensorflow"
    model = build_model(spec, own, parts.train.x.shape[1:], parts.task, parts.classes, jit=jit)
    before = Untrained.of(model, parts, spec)
    orders: list[str] = []
    best = KeepBestWeights(BEST_BY) if parts.validation else None
    started = time.perf_counter()
    history = _fit(model, spec, own, parts, orders, best, report)
    ending = Ending(
        history=history,
        orders=orders,
        seconds=time.perf_counter() - started,
        best_epoch=best.epoch if best else 0,
        load_best=lambda: model.set_weights(best.weights) if best else None,
    )
    trained = conclude(arm, spec, seed, model, parts, before, ending, environment)
    gc.collect()
    return trained


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
    if keras.backend.backend() == "tensorflow":  # JAX would unroll the steps
        model.steps_per_execution = steps  # a number that does not divide them would train more of them
    validation = validation_batches(parts.validation, training.validation_batch_size) if parts.validation else {}
    kept = [best] if best is not None else []
    result = model.fit(
        training_batches(parts.train, seed, training.batch_size, orders),
        epochs=training.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the batches already come in their order
        **validation,
        callbacks=[*controller_callbacks(spec.controllers), *kept, StopWhenNotFinite(), ReportEpochs(report)],
        verbose=0,
    )
    return History.from_mapping({name: [float(value) for value in column] for name, column in result.history.items()})
