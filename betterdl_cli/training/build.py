"""From a spec and a seed to Keras objects. The only place that makes layers, optimizers and models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from betterdl_cli.optimizers import OPTIMIZERS, SCHEDULES
from betterdl_cli.seeds import layer_seed
from betterdl_cli.spec import ArmSpec, Json, LayerSpec
from betterdl_cli.tasks import Task


def build_model(
    spec: ArmSpec, seed: int, input_shape: tuple[int, ...], task: Task, classes: int, *, jit: bool = False
) -> keras.Model:
    """A compiled model whose initial weights and random streams depend on (seed, layer name) alone.

    ``jit``: whether Keras runs its steps through XLA, which changes the last bits, and the masks of dropout and noise.
    """
    layers = [_layer(layer, seed, task, classes) for layer in spec.layers]
    model = keras.Sequential([keras.Input(shape=input_shape), *layers])
    model.compile(
        optimizer=build_optimizer(spec.training.optimizer),
        loss=task.loss,
        metrics=[build_metric(task)],
        jit_compile=jit,
    )
    return model


def build_metric(task: Task) -> keras.metrics.Metric:
    """The metric of a task under its short name."""
    by_task = {
        "binary": keras.metrics.BinaryAccuracy,
        "multiclass": keras.metrics.SparseCategoricalAccuracy,
        "regression": keras.metrics.MeanAbsoluteError,
    }
    return by_task[task.name](name=task.metric)


def build_optimizer(arguments: Mapping[str, Json]) -> keras.optimizers.Optimizer:
    """A Keras optimizer from its plain arguments; those that are None keep Keras's default."""
    given = {key: value for key, value in arguments.items() if key != "kind" and value is not None}
    if isinstance(given["learning_rate"], Mapping):
        schedule = {key: value for key, value in given["learning_rate"].items() if value is not None}
        cls = getattr(keras.optimizers.schedules, SCHEDULES[schedule.pop("kind")].keras_name)
        given["learning_rate"] = cls(**schedule)
    optimizer: keras.optimizers.Optimizer = getattr(keras.optimizers, OPTIMIZERS[str(arguments["kind"])].keras_name)(
        **given
    )
    return optimizer


def _layer(spec: LayerSpec, seed: int, task: Task, classes: int) -> keras.layers.Layer:
    if spec.kind == "Output":
        units = classes if task.name == "multiclass" else 1
        spec = spec.model_copy(
            update={"kind": "Dense", "arguments": {"units": units, "activation": task.output_activation}}
        )
    arguments = dict(spec.arguments)
    if penalty := arguments.get("kernel_regularizer"):
        arguments["kernel_regularizer"] = keras.regularizers.L1L2(**{"l1": 0.0, "l2": 0.0, **penalty})
    cls = getattr(keras.layers, spec.kind)
    config = cls(name=spec.name, **arguments).get_config()
    layer: keras.layers.Layer = cls.from_config(_seeded(config, seed, spec.name, ()))
    return layer


def _seeded(config: Any, seed: int, layer: str, path: tuple[str, ...]) -> Any:
    """A layer's config with every random seed in it derived from the run seed, the layer's name and its place."""
    if isinstance(config, Mapping):
        return {
            key: layer_seed(seed, layer, ".".join((*path, "seed")))
            if key == "seed"
            else _seeded(value, seed, layer, (*path, key))
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_seeded(item, seed, layer, (*path, str(index))) for index, item in enumerate(config))
    return config


def weight_fingerprints(model: keras.Model) -> dict[str, str]:
    """Per layer with weights: a digest of their shapes and bytes."""
    found = {}
    for layer in model.layers:
        hashed = hashlib.sha256()
        arrays = [np.asarray(variable) for variable in layer.weights if "seed" not in variable.name]
        for array in arrays:
            hashed.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
        if arrays:
            found[layer.name] = hashed.hexdigest()[:16]
    return found


def has_penalty(model: keras.Model) -> bool:
    """Whether the losses that Keras reports include a regularisation penalty."""
    return bool(model.losses)
