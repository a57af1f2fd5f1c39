from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from specs import CIRCLES, DIGITS, spec, with_techniques

from betterdl_cli.seeds import epoch_order
from betterdl_cli.spec import ArmSpec
from betterdl_cli.tasks import TASKS
from betterdl_cli.techniques.base import TECHNIQUES
from betterdl_cli.training.data import Part

EXAMPLES = {name: technique.example for name, technique in TECHNIQUES}
ADDITIONS = [pytest.param({name: example}, id=name) for name, example in EXAMPLES.items()] + [
    pytest.param({"gaussian_noise": {"where": "hidden"}}, id="noise after hidden layers"),
    pytest.param({"gaussian_noise": {}, "dropout": {}}, id="dropout on top of noise"),
    pytest.param({"batch_norm": {}, "dropout": {}, "l1_l2": {}}, id="three at once"),
]


def model(arm: ArmSpec, seed: int) -> Any:
    import keras

    from betterdl_cli.training.build import build_model

    keras.utils.set_random_seed(seed)  # the least that a course does: it must not be what pairs the arms
    digits = arm.data.kind == "digits"
    shape, task, classes = ((8, 8, 1), "multiclass", 10) if digits else ((2,), "binary", 2)
    return build_model(arm, seed, shape, TASKS[task], classes)


def initial_weights(arm: ArmSpec, seed: int) -> dict[str, list[Any]]:
    return {layer.name: [np.asarray(weight).tolist() for weight in layer.weights] for layer in model(arm, seed).layers}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("techniques", ADDITIONS)
@pytest.mark.parametrize(
    "control",
    [pytest.param(spec(hidden=(5, 4)), id="mlp"), pytest.param(spec(DIGITS, model="cnn", filters=(2, 3)), id="cnn")],
)
def test_shared_layers_start_from_the_same_weights(
    control: ArmSpec, techniques: Mapping[str, Mapping[str, Any]]
) -> None:
    before = initial_weights(control, seed=3)
    after = initial_weights(with_techniques(control, techniques), seed=3)
    assert {name: after[name] for name in before} == before
    assert any(weights for weights in before.values())


@pytest.mark.usefixtures("engine")
def test_seeds_and_layers_of_the_same_shape_start_from_different_weights() -> None:
    arm = spec(hidden=(4, 4, 4))
    one, other = (initial_weights(arm, seed) for seed in (1, 2))
    assert one["hidden_1"] != other["hidden_1"]
    assert one["hidden_2"] != one["hidden_3"]


@pytest.fixture(scope="module")
def fingerprints(engine: ModuleType) -> dict[str, Any]:
    arms = {"control": spec(hidden=(5, 4))}
    arms |= {name: with_techniques(arms["control"], {name: example}) for name, example in EXAMPLES.items()}
    return {name: engine.train(name, arm, 3, {}).record.fingerprints for name, arm in arms.items()}


@pytest.mark.parametrize("technique", EXAMPLES)
def test_runs_of_a_pair_record_the_same_split_order_and_weights(fingerprints: dict[str, Any], technique: str) -> None:
    control, treatment = fingerprints["control"], fingerprints[technique]
    assert treatment.split == control.split
    assert treatment.order == control.order[: len(treatment.order)]
    assert len(treatment.order) >= 1
    assert {name: treatment.weights[name] for name in control.weights} == control.weights
    assert set(control.weights) == {"hidden_1", "hidden_2", "output"}


@pytest.mark.parametrize("resplit", [False, True])
def test_an_a_a_arm_has_the_split_of_the_control_and_all_else_by_other_seeds(engine: ModuleType, resplit: bool) -> None:
    split = CIRCLES.split.model_copy(update={"resplit": resplit})
    arm = spec(CIRCLES.model_copy(update={"split": split}), hidden=(5, 4))
    second = arm.model_copy(update={"seed_stream": "control-aa"})
    control, other = (engine.train("control", one, 3, {}).record for one in (arm, second))
    assert (other.seed, other.fingerprints.split) == (3, control.fingerprints.split)
    assert all(mine != its for mine, its in zip(other.fingerprints.order, control.fingerprints.order, strict=True))
    weights = control.fingerprints.weights
    assert not [name for name, digest in other.fingerprints.weights.items() if digest == weights[name]]


def test_batches_visit_the_rows_in_the_order_of_the_epoch(engine: ModuleType) -> None:
    part = Part(np.arange(11, dtype=np.float32)[:, None], np.arange(11, dtype=np.int32))
    orders: list[str] = []
    batches = list(engine.training_batches(part, 5, 4, orders).take(6).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [4, 4, 3, 4, 4, 3]
    for epoch, first in ((0, 0), (1, 3)):
        visited = np.concatenate([y for _, y in batches[first : first + 3]])
        assert visited.tolist() == epoch_order(5, epoch, 11).tolist()
    assert all((x[:, 0] == y).all() for x, y in batches)


def masks(arm: ArmSpec, seed: int, layer: str, calls: int = 3) -> list[Any]:
    import keras

    dropout = model(arm, seed).get_layer(layer)
    ones = keras.ops.ones((6, 4))
    return [np.asarray(dropout(ones, training=True)).tolist() for _ in range(calls)]


@pytest.mark.usefixtures("engine")
def test_dropout_masks_depend_only_on_the_seed_and_the_name_of_the_layer() -> None:
    plain = spec(hidden=(4, 4), techniques={"dropout": {}})
    noisy = spec(hidden=(4, 4), techniques={"gaussian_noise": {}, "batch_norm": {}, "l2": {}, "dropout": {}})
    expected = masks(plain, 3, "hidden_1_dropout")
    assert masks(noisy, 3, "hidden_1_dropout") == expected
    assert masks(plain, 3, "hidden_2_dropout") != expected
    assert masks(plain, 4, "hidden_1_dropout") != expected
    assert expected[0] != expected[1]
    assert 0.0 in np.ravel(expected)


@pytest.mark.usefixtures("engine")
def test_the_noise_of_the_input_is_the_same_with_dropout_behind_it() -> None:
    import keras

    zeros = keras.ops.zeros((3, 2))
    drawn = []
    for techniques in ({"gaussian_noise": {}}, {"gaussian_noise": {}, "dropout": {}}):
        layer = model(spec(CIRCLES, techniques=techniques), 3).get_layer("input_noise")
        drawn.append(np.asarray(layer(zeros, training=True)).tolist())
    assert drawn[0] == drawn[1]
    assert np.any(drawn[0])
