"""The catalogue of Keras names, defaults and ranges, held against the installed Keras. The one slow import of these."""

from __future__ import annotations

import inspect
import json
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest

from betterdl_cli.models.base import MODELS, Activation
from betterdl_cli.optimizers import CLIPPING, OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from betterdl_cli.spec import MAX_COUNT, ArmSpec, DataSpec, Frozen, LayerSpec, TrainingSpec
from betterdl_cli.techniques.base import TECHNIQUES

# A config cannot name these: base classes, wrappers around other optimizers, and what the oldest Keras that
# pyproject.toml admits does not have yet.
NO_OPTIMIZERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW"}
# threshold takes two arguments without defaults; glu halves the axis of the units, which Keras's layers do not expect
NO_ACTIVATIONS = {"get", "serialize", "deserialize", "threshold", "glu"}
LEFT_OUT = {"self", "name", "kwargs", "loss_scale_factor"}
LEFT_OUT_OF_MUON = {"exclude_layers", "exclude_embeddings", "muon_a", "muon_b", "muon_c", "adam_lr_ratio", "rms_rate"}

SCHEDULE_EXAMPLES: dict[str, dict[str, Any]] = {
    "exponential_decay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "inverse_time_decay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "polynomial_decay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "cosine_decay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "cosine_decay_restarts": {"initial_learning_rate": 0.1, "first_decay_steps": 10},
    "piecewise_constant_decay": {"boundaries": [10, 20], "values": [0.1, 0.01, 0.001]},
}


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    import keras

    return keras


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The module that makes Keras objects from plain data."""
    from betterdl_cli.training import build

    return build


def made(cls: type[Frozen], given: dict[str, Any]) -> Any:
    """An instance from plain data, as a config gives it."""
    return cls.model_validate_json(json.dumps(given))


def signature(cls: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls.__init__).parameters)


def classes(module: ModuleType, base: type) -> set[str]:
    return {name for name, item in vars(module).items() if inspect.isclass(item) and issubclass(item, base)}


def at_the_ends_of_their_ranges(cls: type[Frozen], **others: Any) -> list[dict[str, Any]]:
    """Arguments with one of them at an end of its range that still belongs to it."""
    found = []
    for name, field in cls.model_fields.items():
        for constraint in field.metadata:
            end = getattr(constraint, "ge", getattr(constraint, "le", None))
            if end is not None:
                found.append({**others, name: end})
    return found


# ---- optimizers ----


def test_every_optimizer_of_keras_can_be_named(keras: ModuleType) -> None:
    theirs = classes(keras.optimizers, keras.optimizers.Optimizer)
    assert {cls.keras_name for cls in OPTIMIZERS.values()} == theirs - NO_OPTIMIZERS


def test_optimizers_are_named_in_lower_case() -> None:
    assert all(name == cls.keras_name.lower() for name, cls in OPTIMIZERS.items())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizer_has_the_arguments_and_defaults_of_keras(keras: ModuleType, kind: str) -> None:
    cls = OPTIMIZERS[kind]
    theirs = signature(getattr(keras.optimizers, cls.keras_name))
    left_out = LEFT_OUT | (LEFT_OUT_OF_MUON if kind == "muon" else set())
    assert {name: field.default for name, field in cls.model_fields.items()} == {
        name: parameter.default for name, parameter in theirs.items() if name not in left_out
    }


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_keras_takes_every_optimizer_at_the_ends_of_its_ranges(build: ModuleType, kind: str) -> None:
    cases = at_the_ends_of_their_ranges(OPTIMIZERS[kind])
    assert cases
    for given in cases:
        arguments = made(OPTIMIZERS[kind], given).model_dump()
        optimizer = build.build_optimizer({"kind": kind, **arguments})
        (name,) = given
        assert getattr(optimizer, name) == pytest.approx(given[name])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_moves_a_weight_against_its_gradient(keras: ModuleType, build: ModuleType, kind: str) -> None:
    optimizer = build.build_optimizer({"kind": kind, **OPTIMIZERS[kind](learning_rate=0.1).model_dump()})
    weight = keras.Variable(np.ones((3, 2), np.float32))
    optimizer.apply([np.full((3, 2), 0.5, np.float32)], [weight])
    moved = np.asarray(keras.ops.convert_to_numpy(weight))
    assert np.all(moved < 1)
    assert np.all(moved > 0)


@pytest.mark.parametrize("clipping", CLIPPING)
def test_clipping_arguments_are_those_of_keras(build: ModuleType, clipping: str) -> None:
    arguments = OPTIMIZERS["sgd"].model_validate({clipping: 0.5}).model_dump()
    assert getattr(build.build_optimizer({"kind": "sgd", **arguments}), clipping) == 0.5


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weight_decay_of_an_optimizer_that_always_decays_is_a_number(kind: str) -> None:
    with pytest.raises(ValueError, match="weight_decay"):
        OPTIMIZERS[kind].model_validate({"weight_decay": None})


# ---- schedules ----


def test_every_schedule_of_keras_can_be_named(keras: ModuleType) -> None:
    schedules = keras.optimizers.schedules
    theirs = classes(schedules, schedules.LearningRateSchedule) - {"LearningRateSchedule"}
    assert {cls.keras_name for cls in SCHEDULES.values()} == theirs


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_has_the_arguments_and_defaults_of_keras(keras: ModuleType, kind: str) -> None:
    cls = SCHEDULES[kind]
    theirs = signature(getattr(keras.optimizers.schedules, cls.keras_name))
    ours = {
        name: inspect.Parameter.empty if field.is_required() else field.default
        for name, field in cls.model_fields.items()
    }
    assert ours == {name: parameter.default for name, parameter in theirs.items() if name not in LEFT_OUT}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_keras_takes_every_schedule_at_the_ends_of_its_ranges(build: ModuleType, kind: str) -> None:
    example = SCHEDULE_EXAMPLES[kind]
    for given in [example, *at_the_ends_of_their_ranges(SCHEDULES[kind], **example)]:
        if given.get("initial_learning_rate") == 0 or given.get("warmup_steps") == MAX_COUNT:
            given = {**given, "warmup_target": 0.1, "warmup_steps": given.get("warmup_steps", 5)}
        arguments = made(SCHEDULES[kind], given).model_dump()
        optimizer = build.build_optimizer({"kind": "sgd", "learning_rate": {"kind": kind, **arguments}})
        assert np.isfinite(float(optimizer.learning_rate))


def test_cosine_decay_without_warm_up_may_not_begin_at_zero() -> None:
    with pytest.raises(ValueError, match="nothing would be learned"):
        SCHEDULES["cosine_decay"].model_validate({"initial_learning_rate": 0.0, "decay_steps": 10})


@pytest.mark.parametrize("half", [{"warmup_steps": 5}, {"warmup_target": 0.5}])
def test_half_a_warm_up_is_refused(half: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected warmup_target and warmup_steps together"):
        SCHEDULES["cosine_decay"].model_validate({**SCHEDULE_EXAMPLES["cosine_decay"], **half})


@pytest.mark.parametrize(
    ("boundaries", "values", "message"),
    [
        ((5,), (0.1, 0.2, 0.3), "expected one value more than boundaries, found 3 values and 1 boundaries"),
        ((5, 5), (0.1, 0.2, 0.3), "expected increasing boundaries"),
        ((5, 3), (0.1, 0.2, 0.3), "expected increasing boundaries"),
    ],
)
def test_steps_of_the_learning_rate_that_are_refused(
    boundaries: tuple[int, ...], values: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULES["piecewise_constant_decay"].model_validate({"boundaries": boundaries, "values": values})


# ---- the other names of Keras ----


def test_every_activation_of_keras_can_be_named(keras: ModuleType) -> None:
    theirs = {name for name, item in vars(keras.activations).items() if callable(item) and name[0] != "_"}
    assert set(get_args(Activation)) == theirs - NO_ACTIVATIONS


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_works_between_two_layers(keras: ModuleType, activation: str) -> None:
    layers = [keras.layers.Dense(4, activation=activation), keras.layers.Dense(1)]
    outputs = keras.Sequential([keras.Input((2,)), *layers])(np.ones((3, 2), np.float32))
    assert np.all(np.isfinite(keras.ops.convert_to_numpy(outputs)))


def catalogued_layers() -> list[LayerSpec]:
    """The layers of every model, and those that every technique puts into it."""
    layers: dict[str, LayerSpec] = {}
    for model, cls in MODELS:
        for rank in cls.ranks:
            plain = ArmSpec(
                data=DataSpec(kind="digits" if rank == 3 else "make_circles"),
                layers=made(cls, cls.example).layers(rank),
                training=TrainingSpec(),
            )
            arms = [made(technique, technique.example).apply(plain) for _, technique in TECHNIQUES]
            layers |= {f"{model} {layer.name} {layer.arguments}": layer for arm in arms for layer in arm.layers}
    return [layer for layer in layers.values() if layer.kind != "Output"]


@pytest.mark.parametrize("layer", catalogued_layers(), ids=lambda layer: f"{layer.kind} {layer.name}")
def test_keras_has_the_layers_and_arguments_of_models_and_techniques(keras: ModuleType, layer: LayerSpec) -> None:
    assert set(layer.arguments) <= set(signature(getattr(keras.layers, layer.kind)))


def test_batch_normalisation_has_the_defaults_of_keras(keras: ModuleType) -> None:
    theirs = signature(keras.layers.BatchNormalization)
    ours = TECHNIQUES.get("batch_norm").model_fields
    assert {name: field.default for name, field in ours.items()} == {name: theirs[name].default for name in ours}


@pytest.mark.parametrize(
    ("technique", "callback"), [("early_stopping", "EarlyStopping"), ("lr_schedule", "ReduceLROnPlateau")]
)
def test_parameters_of_controllers_are_arguments_of_the_callback(
    keras: ModuleType, technique: str, callback: str
) -> None:
    theirs = signature(getattr(keras.callbacks, callback))
    assert set(TECHNIQUES.get(technique).model_fields) - {"kind"} <= set(theirs)


def test_base_classes_are_in_no_catalogue() -> None:
    assert Optimizer not in OPTIMIZERS.values()
    assert Schedule not in SCHEDULES.values()
