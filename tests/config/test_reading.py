from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field, StrictBool, StrictInt

from betterdl_cli.config import reading, yaml12
from betterdl_cli.config.experiment import Experiment
from betterdl_cli.config.reading import read_experiment
from betterdl_cli.errors import ConfigError
from betterdl_cli.techniques.base import Technique

Edit = Callable[[dict[str, Any]], object]
NAME = "expected a name of a-z, 0-9, '.', '_' and '-' that begins with a letter or a digit"


def faults_of(plain: dict[str, Any], **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_experiment({**plain, **sections})
    assert caught.value.faults, "a refusal without a reason"
    return [str(fault) for fault in caught.value.faults]


def ids(experiment: Experiment) -> list[str]:
    return [recipe.id for recipe in experiment.recipes]


# ---- sections and defaults ----


def test_defaults_are_filled_in() -> None:
    experiment = read_experiment({"name": "t", "data": {"kind": "digits"}, "model": {"kind": "mlp"}})
    assert experiment.seeds == tuple(range(10))
    assert experiment.metric == "test_accuracy"
    assert (experiment.training.epochs, experiment.training.batch_size) == (100, 32)
    assert experiment.training.optimizer["kind"] == "adam"
    assert experiment.training.optimizer["learning_rate"] == 0.001
    assert experiment.model.parameters == {"hidden": [50], "activation": "relu"}
    assert experiment.data.split.model_dump() == {
        "train": 0.6, "validation": 0.2, "test": 0.2, "order": "shuffled", "seed": 0, "resplit": False
    }  # fmt: skip
    assert experiment.store.model_dump() == {"weights": True, "predictions": True}


def test_resolved_config_reads_back_equal(plain: dict[str, Any]) -> None:
    plain["techniques"] = {
        "dropout": {"retention": [0.75, 0.5]},
        "gaussian_noise": {"where": ["input", "hidden"], "stddev": [0.1, 0.2]},
        "l2": None,
        "lr_schedule": {"kind": "plateau"},
    }
    plain["arms"] = {"both": ["l2", "batch_norm"], "c": {"dropout": {"rate": 0.1}}}
    plain["base"] = {"normalize_inputs": {}}
    plain["seeds"] = "4..6"
    plain["metric"] = "val_loss"
    plain["store"] = {"weights": False}
    plain["training"]["optimizer"] = {
        "kind": "adamw",
        "learning_rate": {"kind": "piecewise_constant_decay", "boundaries": [5], "values": [0.1, 0.01]},
    }
    experiment = read_experiment(plain)
    again = read_experiment(yaml12.parse(yaml12.dump(experiment.resolved), "again").data)
    assert again == experiment
    assert again.id == experiment.id


def test_resolved_config_has_every_section() -> None:
    resolved = read_experiment({"name": "t", "data": {"kind": "digits"}, "model": {"kind": "mlp"}}).resolved
    assert list(resolved) == [
        "name", "data", "model", "training", "base", "techniques", "arms", "design", "aa", "seeds", "metric",
        "equivalence_margin", "alpha", "store",
    ]  # fmt: skip
    assert resolved["training"]["optimizer"]["beta_1"] == 0.9


@pytest.mark.parametrize("value", [None, 5, "x", [1]])
@pytest.mark.parametrize("section", ["data", "model", "training", "base", "techniques", "arms", "store"])
def test_section_that_is_no_mapping_is_refused(plain: dict[str, Any], section: str, value: object) -> None:
    (fault,) = faults_of(plain, **{section: value})
    assert fault.startswith(f"{section}: expected a mapping")


def test_missing_sections_are_reported_together() -> None:
    missing = "required key is missing; expected"
    assert faults_of({}) == [
        f"name: {missing} a text: the name of the experiment",
        f"data: {missing} a mapping with the kind of the dataset (bdl list datasets) and its parameters",
        f"model: {missing} a mapping with the kind of the model (bdl list models) and its parameters",
    ]


def test_missing_part_of_a_split_says_what_it_holds(plain: dict[str, Any]) -> None:
    del plain["data"]["split"]["test"]
    assert faults_of(plain) == [
        "data.split.test: required key is missing; expected a number: rows or fraction for the test set"
    ]


def test_misspelt_activation_names_those_like_it(plain: dict[str, Any]) -> None:
    plain["model"]["activation"] = "rleu"
    assert faults_of(plain) == [
        "model.activation: expected one of 30 names (relu, relu6, elu, silu, selu, …), found the text 'rleu' (did you "
        "mean 'relu'?)"
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(techniqes={}), "techniqes: unknown key; expected one of: name, data, model, training, "
         "base, techniques, arms, seeds, design, aa, metric, equivalence_margin, alpha, store "
         "(did you mean 'techniques'?)"),
        (lambda c: c["data"].update(splt={}), "data.splt: unknown key; expected one of: n_samples, noise, factor, "
         "random_state, split (did you mean 'split'?)"),
        (lambda c: c["data"]["split"].update(ordr="given"), "data.split.ordr: unknown key; expected one of: train, "
         "validation, test, order, seed, resplit (did you mean 'order'?)"),
        (lambda c: c["model"].update(hiden=[1]), "model.hiden: unknown key; expected one of: hidden, activation "
         "(did you mean 'hidden'?)"),
        (lambda c: c["training"].update(epoch=3), "training.epoch: unknown key; expected one of: optimizer, epochs, "
         "batch_size, validation_batch_size (did you mean 'epochs'?)"),
        (lambda c: c.update(store={"weigths": True}), "store.weigths: unknown key; expected one of: weights, "
         "predictions (did you mean 'weights'?)"),
        (lambda c: c.update(base={"l2": {"l1": 0.1}}), "base.l2.l1: unknown key; expected one of: l2"),
    ],
)  # fmt: skip
def test_misspelt_key_is_refused_with_the_nearest_one(plain: dict[str, Any], edit: Edit, message: str) -> None:
    edit(plain)
    assert faults_of(plain) == [message]


TECHNIQUE = "expected the name of a technique ("


@pytest.mark.parametrize(
    ("edit", "start", "suggestion"),
    [
        (lambda c: c["data"].update(kind="make_circle"), "data.kind: expected the name of a dataset (", "make_circles"),
        (lambda c: c["model"].update(kind="mpl"), "model.kind: expected the name of a model (", "mlp"),
        (lambda c: c["training"]["optimizer"].update(kind="Adm"),
         "training.optimizer.kind: expected the name of an optimizer (", "adam"),
        (lambda c: c["training"]["optimizer"].update(learning_rate={"kind": "cosin_decay"}),
         "training.optimizer.learning_rate.kind: expected the name of a learning-rate schedule (", "cosine_decay"),
        (lambda c: c.update(techniques={"droput": {}}), f"techniques.droput: {TECHNIQUE}", "dropout"),
        (lambda c: c.update(base={"batchnorm": {}}), f"base.batchnorm: {TECHNIQUE}", "batch_norm"),
        (lambda c: c.update(arms={"a": ["l2", "droput"]}), f"arms.a.1: {TECHNIQUE}", "dropout"),
        (lambda c: c.update(arms={"a": {"droput": {}}}), f"arms.a.droput: {TECHNIQUE}", "dropout"),
    ],
)  # fmt: skip
def test_misspelt_kind_is_refused_with_the_nearest_one(
    plain: dict[str, Any], edit: Edit, start: str, suggestion: str
) -> None:
    edit(plain)
    (fault,) = faults_of(plain)
    assert fault.startswith(start)
    assert fault.endswith(f"(did you mean '{suggestion}'?)")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["data"].update(noise=-1), "data.noise: expected a number ≥ 0, found -1"),
        (lambda c: c["data"].update(n_samples=True), "data.n_samples: expected an integer, found the truth value true"),
        (lambda c: c["data"].pop("kind"), "data: expected a kind (kind: breast_cancer | digits | make_circles | "
         "make_moons), found none"),
        (lambda c: c["model"].update(hidden=8), "model.hidden: expected a list, found 8"),
        (lambda c: c["model"].update(hidden=[8, 0]), "model.hidden.1: expected a number ≥ 1, found 0"),
        (lambda c: c["training"].update(epochs=1e3), "training.epochs: expected an integer, found 1000.0"),
        (lambda c: c["training"].update(epochs=0), "training.epochs: expected a number ≥ 1, found 0"),
        (lambda c: c["training"].update(batch_size=10**20), "training.batch_size: expected a number ≤ 2147483647, "
         "found 100000000000000000000"),
        (lambda c: c["training"].update(optimizer=None), "training.optimizer: expected a mapping with a kind, found "
         "nothing"),
        (lambda c: c["training"]["optimizer"].update(momentum=1.5), "training.optimizer.momentum: expected a number "
         "≤ 1, found 1.5"),
        (lambda c: c["training"]["optimizer"].update(learning_rate=0), "training.optimizer.learning_rate: expected a "
         "number > 0 or a schedule (a mapping with a kind), found 0"),
        (lambda c: c["training"]["optimizer"].update(learning_rate=True), "training.optimizer.learning_rate: expected "
         "a number > 0 or a schedule (a mapping with a kind), found the truth value true"),
        (lambda c: c["training"]["optimizer"].update(learning_rate={}), "training.optimizer.learning_rate: expected a "
         "kind (kind: exponential_decay | inverse_time_decay | polynomial_decay | cosine_decay | "
         "cosine_decay_restarts | piecewise_constant_decay), found none"),
        (lambda c: c["training"]["optimizer"].update(learning_rate={"kind": "cosine_decay", "decay_steps": 5}),
         "training.optimizer.learning_rate.initial_learning_rate: required key is missing; expected a number"),
        (lambda c: c.update(metric="accuracy"), "metric: expected one of test_accuracy, test_loss, val_accuracy, "
         "val_loss, found 'accuracy' (did you mean 'val_accuracy'?)"),
        (lambda c: c.update(metric=5), "metric: expected a text, found 5"),
        (lambda c: c.update(store={"weights": 1}), "store.weights: expected true or false, found 1"),
    ],
)  # fmt: skip
def test_value_that_is_refused(plain: dict[str, Any], edit: Edit, message: str) -> None:
    edit(plain)
    assert faults_of(plain) == [message]


def test_metric_of_no_task_is_refused_whatever_else_is_wrong(plain: dict[str, Any]) -> None:
    first, second = faults_of(plain, data={"kind": "make_circels"}, metric="tst_accuracy")
    assert first.startswith("data.kind: ")
    assert second.endswith("found 'tst_accuracy' (did you mean 'test_accuracy'?)")
    assert len(faults_of(plain, data={"kind": "make_circels"}, metric="val_loss")) == 1
    assert len(faults_of(plain, name="A", metric="tst_accuracy")) == 2


def test_validation_metric_without_a_validation_part_is_refused(plain: dict[str, Any]) -> None:
    plain["data"]["split"].pop("validation")
    known = "metric: expected one of test_accuracy, test_loss"
    assert faults_of(plain, metric="val_loss") == [f"{known}, found 'val_loss'; this split has no validation part"]
    assert faults_of(plain, metric="test_los") == [f"{known}, found 'test_los' (did you mean 'test_loss'?)"]


def test_faults_of_all_sections_are_reported_at_once(plain: dict[str, Any]) -> None:
    plain["name"] = "A"
    plain["data"]["noise"] = "x"
    plain["data"]["split"]["order"] = "x"
    plain["model"]["hidden"] = [0]
    plain["training"]["epochs"] = 0
    plain["training"]["optimizer"] = {"kind": "sgd", "momentum": 2, "nesterov": 1}
    plain |= {"base": {"x": {}}, "techniques": {"y": {}}, "arms": {"z": 1}, "seeds": 0}
    assert len(faults_of(plain)) == 11


# ---- techniques, sweeps, arms ----


class Layers(Technique):
    """A technique with a list-typed parameter, which no real one has yet."""

    sizes: tuple[StrictInt, ...] | None = (1,)
    mean: float | None = Field(default=None, gt=0)
    bias: StrictBool = False


@pytest.fixture
def with_layers(plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(reading, "_technique", lambda *_, **__: Layers)
    return plain


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([2, 3], {"layers": [2, 3]}),
        ([[2, 3]], {"layers-sizes-2x3": [2, 3]}),
        ([[2], [], [4, 5]], {"layers-sizes-2": [2], "layers-sizes-": [], "layers-sizes-4x5": [4, 5]}),
    ],
)
def test_list_typed_parameter_sweeps_by_a_list_of_lists(
    with_layers: dict[str, Any], sizes: list[Any], expected: dict[str, list[int]]
) -> None:
    experiment = read_experiment({**with_layers, "techniques": {"layers": {"sizes": sizes}}})
    assert {recipe.id: recipe.uses[0].parameters["sizes"] for recipe in experiment.recipes} == expected


def test_null_and_truth_values_can_be_swept(with_layers: dict[str, Any]) -> None:
    experiment = read_experiment({**with_layers, "techniques": {"layers": {"mean": [None, 2], "bias": [True]}}})
    assert ids(experiment) == ["layers-mean-null-bias-true", "layers-mean-2-bias-true"]


def test_list_and_lists_mixed_are_refused(with_layers: dict[str, Any]) -> None:
    assert faults_of(with_layers, techniques={"layers": {"sizes": [2, [3]]}}) == [
        "techniques.layers.sizes.1: expected an integer, found a list"
    ]


def test_fault_of_a_swept_value_points_at_it(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"dropout": {"rate": [0.2, 2, "x"]}}) == [
        "techniques.dropout.rate.1: expected a number < 1, found 2",
        "techniques.dropout.rate.2: expected a number, found the text 'x'",
    ]


def test_true_beside_one_in_a_sweep_is_the_one_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"batch_size": {"size": [1, True]}}) == [
        "techniques.batch_size.size.1: expected an integer, found the truth value true"
    ]


def test_fault_beside_a_sweep_is_reported_once(plain: dict[str, Any]) -> None:
    techniques = {"gaussian_noise": {"stddev": [0.1, 0.2, 0.3], "where": "x"}}
    assert len(faults_of(plain, techniques=techniques)) == 1


def test_empty_sweep_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"dropout": {"rate": []}}) == [
        "techniques.dropout.rate: expected a value, or a list of at least one to sweep, found an empty list"
    ]


def test_sweep_of_the_same_value_twice_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"dropout": {"rate": [0.2, 0.2]}}) == [
        "techniques.dropout.rate.1: expected different values to sweep, found 0.2 twice"
    ]


def test_sweep_of_the_same_number_three_times_beside_another_sweep_is_refused_twice(plain: dict[str, Any]) -> None:
    techniques = {"early_stopping": {"patience": [5, 5, 5], "start_from_epoch": [1, 2]}}
    assert faults_of(plain, techniques=techniques) == [
        f"techniques.early_stopping.patience.{index}: expected different values to sweep, found 5 twice"
        for index in (1, 2)
    ]


def test_sweep_of_too_many_arms_is_refused_without_making_them(plain: dict[str, Any]) -> None:
    many = [number / 1001 for number in range(1, 1001)]
    assert faults_of(plain, techniques={"l1_l2": {"l1": many, "l2": many}}) == [
        "techniques.l1_l2: expected at most 1000 arms, found a sweep of 1000000"
    ]


def test_thousand_arms_are_allowed(plain: dict[str, Any]) -> None:
    thousand = [number / 1001 for number in range(1, 1001)]
    assert len(read_experiment({**plain, "techniques": {"l2": {"l2": thousand}}}).recipes) == 1000


def test_too_many_arms_together_are_refused(plain: dict[str, Any]) -> None:
    arms = {f"a{number}": {"l2": {}} for number in range(1001)}
    assert faults_of(plain, arms=arms) == ["arms.a1000: expected at most 1000 arms, found 1001"]


def test_sweep_with_names_too_long_for_a_folder_is_refused(plain: dict[str, Any]) -> None:
    huge = [10**99]
    (fault,) = faults_of(plain, techniques={"early_stopping": {"patience": huge, "start_from_epoch": huge}})
    assert fault.startswith("techniques.early_stopping: expected a sweep with arm names of at most 200 characters")


@pytest.mark.parametrize("parameters", [5, [0.2], "x", True])
def test_parameters_that_are_no_mapping_are_refused(plain: dict[str, Any], parameters: object) -> None:
    (fault,) = faults_of(plain, techniques={"dropout": parameters})
    assert fault.startswith("techniques.dropout: expected a mapping of parameters ({} for the defaults), found ")


def test_dropout_by_rate_and_retention_at_once_is_refused(plain: dict[str, Any]) -> None:
    assert faults_of(plain, base={"dropout": {"rate": 0.2, "retention": 0.8}}) == [
        "base.dropout: expected either rate or retention (= 1 − rate), found both: leave one out"
    ]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"A": ["l2"]}, f"arms.A: {NAME}, found the text 'A'"),
        ({"a/b": ["l2"]}, f"arms.a/b: {NAME}, found the text 'a/b'"),
        ({"x" * 101: ["l2"]},
         f"arms.{'x' * 39}…: expected a name of at most 100 characters, found 101 characters"),
        ({"control": ["l2"]}, "arms.control: expected another name, found 'control', which is the name of the arm "
         "without techniques"),
        ({"a": []}, "arms.a: expected a list of techniques, or a mapping of techniques to parameters, found none"),
        ({"a": {}}, "arms.a: expected a list of techniques, or a mapping of techniques to parameters, found none"),
        ({"a": "l2"}, "arms.a: expected a list of techniques, or a mapping of techniques to parameters, found the text "
         "'l2'"),
        ({"a": [5]}, "arms.a.0: expected the name of a technique, found 5"),
        ({"a": ["l2", "l2"]}, "arms.a.1: expected l2 once per arm, found it twice"),
        ({"a": ["batch_size"]}, "arms.a.0: expected batch_size under techniques, from where its size would be taken, "
         "found only its name: list it there, or write this arm as a mapping of techniques to parameters"),
        ({"a": {"dropout": {"rate": [0.1, 0.2]}}}, "arms.a.dropout.rate: expected a number, found a list"),
    ],
)  # fmt: skip
def test_stacked_arm_that_is_refused(plain: dict[str, Any], arms: dict[str, Any], message: str) -> None:
    assert faults_of(plain, arms=arms) == [message]


def test_stacked_arm_cannot_take_its_parameters_from_a_sweep(plain: dict[str, Any]) -> None:
    assert faults_of(plain, techniques={"dropout": {"rate": [0.1, 0.2]}}, arms={"a": ["l2", "dropout"]}) == [
        "arms.a.1: expected one setting of dropout, found a sweep: write the arm with one of them, such as "
        "'a: {l2: {}, dropout: {rate: 0.1}}'"
    ]


def test_arm_that_is_suggested_for_a_sweep_is_built_from_the_config(plain: dict[str, Any]) -> None:
    techniques = {"dropout": {"rate": [0.1, 0.2]}, "l2": {"l2": 0.3}, "batch_norm": None}
    (fault,) = faults_of(plain, techniques=techniques, arms={"a": ["batch_norm", "l2", "dropout"]})
    assert fault.endswith("such as 'a: {batch_norm: {}, l2: {l2: 0.3}, dropout: {rate: 0.1}}'")
    arms = {"a": {"batch_norm": {}, "l2": {"l2": 0.3}, "dropout": {"rate": 0.1}}}
    assert "a" in ids(read_experiment({**plain, "techniques": techniques, "arms": arms}))


def test_stacked_arm_with_the_name_of_a_treatment_is_refused(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, techniques={"dropout": {}}, arms={"dropout": ["l2"]})
    assert fault.startswith("arms.dropout: expected arms with different names, found 'dropout' twice")


def test_stacked_arm_of_a_faulty_technique_adds_no_fault(plain: dict[str, Any]) -> None:
    assert len(faults_of(plain, techniques={"dropout": {"rate": 2}}, arms={"a": ["dropout"]})) == 1


# ---- anything, anywhere ----

WHOLE: dict[str, Any] = {
    "name": "t",
    "data": {"kind": "make_circles", "noise": 0.1, "split": {"train": 60, "validation": "test", "test": 20, "seed": 1}},
    "model": {"kind": "mlp", "hidden": [8], "activation": "relu"},
    "training": {
        "optimizer": {
            "kind": "sgd",
            "learning_rate": {"kind": "piecewise_constant_decay", "boundaries": [5], "values": [0.1, 0.01]},
            "nesterov": True,
        },
        "epochs": 5,
    },
    "base": {"batch_norm": {"momentum": 0.5}},
    "techniques": {"dropout": {"rate": [0.2, 0.3]}, "early_stopping": {"monitor": "loss"}, "l2": None},
    "arms": {"a": ["l2", "dropout"], "b": {"dropout": {"retention": 0.5}}},
    "seeds": [1, 2],
    "metric": "test_loss",
    "store": {"weights": True},
}
ODD: list[Any] = [
    *(None, True, 0, -1, 2, 10**99, 0.5, -0.0, 1e308, "", "x", "2", "\x1b", "kind", [], [[]], [None], [1, "x"]),
    *({}, {"": 1}, {"kind": "x"}, {"kind": None}, {"kind": "adam"}, {"dropout": 1}, {"dropout": {"rate": True}}),
]


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for key in keys for place in [(*path, key), *places(value[key], (*path, key))]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_whatever_stands_anywhere_is_read_or_refused_with_reasons(odd: Any) -> None:
    for path in places(WHOLE):
        plain = copy.deepcopy(WHOLE)
        place: Any = plain
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = odd
        try:
            experiment = read_experiment(plain)
        except ConfigError as error:
            assert error.faults
            assert all(str(fault).isprintable() for fault in error.faults)
        else:
            assert read_experiment(experiment.resolved) == experiment
