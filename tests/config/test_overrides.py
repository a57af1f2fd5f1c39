from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from betterdl_cli.config.overrides import apply_overrides, parse_overrides


def parse_faults(*words: str) -> list[str]:
    overrides, faults = parse_overrides(words)
    assert not overrides
    return [str(fault) for fault in faults]


def applied(plain: dict[str, Any], *words: str) -> dict[str, Any]:
    overrides, unparsed = parse_overrides(words)
    changed, unfit = apply_overrides(plain, overrides)
    assert [str(fault) for fault in (*unparsed, *unfit)] == []
    return changed


def faults_of(plain: dict[str, Any], *words: str) -> list[str]:
    overrides, unparsed = parse_overrides(words)
    _, unfit = apply_overrides(plain, overrides)
    return [str(fault) for fault in (*unparsed, *unfit)]


# ---- words ----


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("training.epochs=50", ("training", "epochs"), 50),
        ("a=1e-3", ("a",), 0.001),
        ("a=no", ("a",), "no"),
        ("a=true", ("a",), True),
        ("a='10'", ("a",), "10"),
        ("a=null", ("a",), None),
        ("a=[1, 2]", ("a",), [1, 2]),
        ("a={kind: adam}", ("a",), {"kind": "adam"}),
        ("a=b=c", ("a",), "b=c"),
        ("model.hidden.0=3", ("model", "hidden", "0"), 3),
        (" a . b = 1", ("a", "b"), 1),
    ],
)
def test_word_is_a_path_and_a_yaml_value(word: str, path: tuple[str, ...], value: object) -> None:
    ((override,), faults) = parse_overrides([word])
    assert (override.path, override.value, faults) == (path, value, [])


@pytest.mark.parametrize("word", ["", "=", "=5", "training.epochs", "a..b=1", ".a=1", "a.=1", "run", " =1"])
def test_word_that_is_not_key_value_is_refused(word: str) -> None:
    assert parse_faults(word) == [f"override '{word}': expected KEY=VALUE such as training.epochs=50, found '{word}'"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=", "expected a value, found nothing"),
        ("a=[", "invalid YAML: expected a value, but found the end"),
        ("a=.nan", "expected a finite number, found .nan"),
        ("a=1e999", "expected a finite number, found 1e999"),
        ("a=&x 1", "anchors are not allowed, found &x; leave it out"),
        ("a=!!python/name:os.system", "tags are not allowed, found !!python/name:os.system"),
        ("a={b: 1, b: 2}", "b: duplicate key 'b', first at line 1"),
    ],
)
def test_value_that_is_no_yaml_is_refused(word: str, message: str) -> None:
    assert parse_faults(word) == [f"override '{word}': {message}"]


def test_all_faulty_words_are_reported() -> None:
    assert len(parse_faults("a", "b=", "=c")) == 3


def test_control_characters_and_broken_encoding_are_escaped_in_messages() -> None:
    (fault,) = parse_faults("\x1b[2J\udcff")
    assert fault.startswith(r"override '\x1b[2J\udcff': expected KEY=VALUE")


def test_long_word_is_shortened() -> None:
    (fault,) = parse_faults("x" * 10_000)
    assert len(fault) < 250


# ---- places ----


def test_value_of_the_file_is_replaced(plain: dict[str, Any]) -> None:
    before = copy.deepcopy(plain)
    changed = applied(plain, "training.epochs=50", "model.hidden=[4, 4]", "data.split.order=given")
    assert (changed["training"]["epochs"], changed["model"]["hidden"]) == (50, [4, 4])
    assert changed["data"]["split"]["order"] == "given"
    assert plain == before


def test_override_given_twice_counts_once(plain: dict[str, Any]) -> None:
    assert applied(plain, "training.epochs=50", "training.epochs=50")["training"]["epochs"] == 50


@pytest.mark.parametrize("other", ["60", "50.0", "'50'", "null", "[50]"])
def test_override_given_twice_with_different_values_is_refused(plain: dict[str, Any], other: str) -> None:
    second = f"training.epochs={other}"
    assert faults_of(plain, "training.epochs=50", second) == [
        f"override '{second}': training.epochs: expected one value, found two: 'training.epochs=50' and '{second}'"
    ]


def test_parameter_with_a_default_is_set(plain: dict[str, Any]) -> None:
    changed = applied(
        plain, "training.validation_batch_size=8", "training.optimizer.momentum=0.9", "store.weights=false"
    )
    assert changed["training"]["validation_batch_size"] == 8
    assert changed["training"]["optimizer"] == {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    assert changed["store"] == {"weights": False, "predictions": True}


def test_item_of_a_list_is_replaced(plain: dict[str, Any]) -> None:
    assert applied(plain, "model.hidden.0=3")["model"]["hidden"] == [3]


def test_item_of_a_list_that_is_a_default_is_replaced(plain: dict[str, Any]) -> None:
    del plain["model"]["hidden"]
    assert applied(plain, "model.hidden.0=3")["model"]["hidden"] == [3]
    plain["seeds"] = 3
    assert applied(plain, "seeds.1=7")["seeds"] == [0, 7, 2]


def test_parameter_becomes_a_sweep(plain: dict[str, Any]) -> None:
    plain["techniques"] = {"dropout": {"rate": 0.2}}
    assert applied(plain, "techniques.dropout.rate=[0.2, 0.5]")["techniques"]["dropout"]["rate"] == [0.2, 0.5]


def test_technique_without_parameters_gets_one(plain: dict[str, Any]) -> None:
    plain["techniques"] = {"dropout": None}
    assert applied(plain, "techniques.dropout.rate=0.2")["techniques"] == {"dropout": {"rate": 0.2}}


@pytest.mark.parametrize("section", ["techniques", "base"])
@pytest.mark.parametrize("word", ["l2={l2: 0.1}", "l2.l2=0.1"])
def test_technique_is_added_by_its_parameters(plain: dict[str, Any], section: str, word: str) -> None:
    assert applied(plain, f"{section}.{word}")[section] == {"l2": {"l2": 0.1}}


def test_technique_is_added_to_an_arm(plain: dict[str, Any]) -> None:
    plain["arms"] = {"both": {"l2": {}, "dropout": {}}}
    assert applied(plain, "arms.both.l1.l1=0.1")["arms"]["both"] == {"l2": {}, "dropout": {}, "l1": {"l1": 0.1}}


def test_arm_is_added(plain: dict[str, Any]) -> None:
    assert applied(plain, "arms.both=[l2, dropout]")["arms"] == {"both": ["l2", "dropout"]}


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("seeds=3..5", ("seeds",)),
        ("data.split.validation=test", ("data", "split", "validation")),
        ("data.split.validation=null", ("data", "split", "validation")),
        ("training.optimizer.learning_rate={kind: cosine_decay}", ("training", "optimizer", "learning_rate")),
    ],
)
def test_place_that_takes_several_types_may_change_them(plain: dict[str, Any], word: str, path: tuple[str]) -> None:
    found: Any = applied({**plain, "seeds": 3}, word)
    for key in path:
        found = found[key]
    assert found != 20


# ---- places that do not exist ----

TOP = (
    "unknown path: the config has name, data, model, training, base, techniques, arms, seeds, design, aa, metric, "
    "equivalence_margin, alpha, store"
)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainig.epochs=5", f"trainig: {TOP}; found 'trainig' (did you mean 'training'?)"),
        ("TRAINING.epochs=5", f"TRAINING: {TOP}; found 'TRAINING' (did you mean 'training'?)"),
        ("foo=1", f"foo: {TOP}; found 'foo'"),
        ("0=1", f"0: {TOP}; found '0'"),
        ("²=1", f"²: {TOP}; found '²'"),
        ("training.epoch=5", "training.epoch: unknown path: training has optimizer, epochs, batch_size, "
         "validation_batch_size; found 'epoch' (did you mean 'epochs'?)"),
        ("training.epochs.x=5", "training.epochs.x: unknown path: training.epochs is 5, without keys"),
        ("training.optimizer.learning_rate.x=1", "training.optimizer.learning_rate.x: unknown path: "
         "training.optimizer.learning_rate is 0.1, without keys"),
        ("training.optimizer.learning_rate.decay_steps=9", "training.optimizer.learning_rate.decay_steps: unknown "
         "path: training.optimizer.learning_rate is 0.1, without keys; with a kind it has keys: add "
         "'training.optimizer.learning_rate.kind=exponential_decay'"),
        ("model.hidden.1=3", "model.hidden.1: unknown path: model.hidden has 0; found '1'"),
        ("model.hidden.-1=3", "model.hidden.-1: unknown path: model.hidden has 0; found '-1'"),
        ("model.hidden.x=3", "model.hidden.x: unknown path: model.hidden has 0; found 'x'"),
        ("model.hidden.00=3", "model.hidden.00: unknown path: model.hidden has 0; found '00' "
         "(did you mean '0'?)"),
        ("model.hidden.0.x=3", "model.hidden.0.x: unknown path: model.hidden.0 is 8, without keys"),
        ("model.kind.x=3", "model.kind.x: unknown path: model.kind is the text 'mlp', without keys"),
        ("training.validation_batch_size.x=3", "training.validation_batch_size.x: unknown path: "
         "training.validation_batch_size is 1024, without keys"),
        ("metric.x=3", "metric.x: unknown path: metric is nothing, without keys"),
        ("techniques.dropout.rte=0.4", "techniques.dropout.rte: unknown path: techniques.dropout has rate, retention; "
         "found 'rte' (did you mean 'rate'?)"),
        ("arms.both.l2.l2=0.1",
         "arms.both: unknown path: arms has no keys; found 'both'; to add it: 'arms.both={l2: {l2: 0.1}}'"),
        ("data.n_sample=5", "data.n_sample: unknown path: data has kind, n_samples, noise, factor, "
         "random_state, split; found 'n_sample' (did you mean 'n_samples'?)"),
    ],
)  # fmt: skip
def test_unknown_path_is_refused(plain: dict[str, Any], word: str, message: str) -> None:
    plain["techniques"] = {"dropout": {"rate": 0.2}}
    assert faults_of(plain, word) == [f"override '{word}': {message}"]


RATE = "training.optimizer.learning_rate"
SCHEDULE = [f"{RATE}.kind=cosine_decay", f"{RATE}.initial_learning_rate=0.2", f"{RATE}.decay_steps=100"]


@pytest.mark.parametrize("words", list(itertools.permutations(SCHEDULE)))
def test_kind_of_a_schedule_takes_the_place_of_a_number(plain: dict[str, Any], words: tuple[str, ...]) -> None:
    expected = {"kind": "cosine_decay", "initial_learning_rate": 0.2, "decay_steps": 100}
    assert applied(plain, *words)["training"]["optimizer"]["learning_rate"] == expected
    del plain["training"]["optimizer"]["learning_rate"]  # where the number is the default
    assert applied(plain, *words)["training"]["optimizer"]["learning_rate"] == expected


def test_number_and_schedule_at_once_are_refused(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, f"{RATE}=0.3", SCHEDULE[0])
    assert fault == f"override '{SCHEDULE[0]}': {RATE}.kind: unknown path: {RATE} is 0.3, without keys"


def test_path_of_five_thousand_digits_is_refused(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, f"{'9' * 5000}=1")
    assert fault.endswith(f"found '{'9' * 39}…'")


def test_all_overrides_that_do_not_fit_are_reported(plain: dict[str, Any]) -> None:
    found = faults_of(plain, "training.x=1", "a", "model.x=1", "training.batch_size=8", "data.x=1")
    assert [fault.partition(":")[0] for fault in found] == [
        "override 'a'", "override 'training.x=1'", "override 'model.x=1'", "override 'data.x=1'"
    ]  # fmt: skip


def test_paste_of_the_suggested_override_adds_the_arm(plain: dict[str, Any]) -> None:
    assert applied(plain, "arms.both={l2: {l2: 0.1}}")["arms"] == {"both": {"l2": {"l2": 0.1}}}


# ---- under a default that the file does not state ----


@pytest.mark.parametrize("split", [{}, {"split": None}])
@pytest.mark.parametrize(("key", "value"), [("resplit", True), ("validation", "test"), ("train", 0.5)])
def test_split_that_the_file_leaves_out_is_changed_from_its_default(
    plain: dict[str, Any], split: dict[str, Any], key: str, value: object
) -> None:
    plain["data"] = {"kind": "make_circles", **split}
    changed = applied(plain, f"data.split.{key}={value}".lower())["data"]["split"]
    default = {"train": 0.6, "validation": 0.2, "test": 0.2, "order": "shuffled", "seed": 0, "resplit": False}
    assert changed == {**default, key: value}


def test_optimizer_that_the_file_leaves_out_is_the_default_one(plain: dict[str, Any]) -> None:
    del plain["training"]["optimizer"]
    assert applied(plain, "training.optimizer.beta_1=0.8")["training"]["optimizer"] == {"beta_1": 0.8}
    (fault,) = faults_of(plain, "training.optimizer.momentum=0.8")
    assert "found 'momentum'" in fault


def test_section_that_the_file_leaves_out_can_be_given(plain: dict[str, Any]) -> None:
    del plain["model"]
    assert applied(plain, "model.hidden=[4]", "model.kind=mlp")["model"] == {"kind": "mlp", "hidden": [4]}


def test_keys_of_a_kind_that_does_not_exist_are_left_to_the_check_of_the_whole(plain: dict[str, Any]) -> None:
    plain["data"]["kind"] = "make_circle"
    assert applied(plain, "data.n_sample=5")["data"]["n_sample"] == 5


def test_item_of_a_range_of_seeds_that_is_too_long_is_refused_without_making_it(plain: dict[str, Any]) -> None:
    plain["seeds"] = 2_000_000_000
    assert faults_of(plain, "seeds.1=7") == [
        "override 'seeds.1=7': seeds.1: unknown path: seeds is 2000000000, without keys"
    ]


# ---- a change of kind ----


def test_new_kind_keeps_the_parameters_that_it_also_takes_and_drops_the_others(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"] = {"kind": "adam", "learning_rate": 0.1, "clipnorm": 1, "beta_1": 0.8}
    changed = applied(plain, "training.optimizer.kind=sgd")["training"]["optimizer"]
    assert changed == {"kind": "sgd", "learning_rate": 0.1, "clipnorm": 1}


def test_new_kind_of_an_optimizer_without_a_kind_drops_the_parameters_of_the_default_one(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"] = {"beta_1": 0.8}
    assert applied(plain, "training.optimizer.kind=sgd")["training"]["optimizer"] == {"kind": "sgd"}


def test_new_dataset_keeps_the_split(plain: dict[str, Any]) -> None:
    split = plain["data"]["split"]
    assert applied(plain, "data.kind=digits")["data"] == {"kind": "digits", "split": split}


def test_new_model_and_new_schedule_drop_what_they_do_not_take(plain: dict[str, Any]) -> None:
    plain["model"]["activation"] = "tanh"
    plain["training"]["optimizer"]["learning_rate"] = {
        "kind": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 5, "alpha": 0.1
    }  # fmt: skip
    changed = applied(plain, "model.kind=cnn", "training.optimizer.learning_rate.kind=exponential_decay")
    assert changed["model"] == {"kind": "cnn", "activation": "tanh"}
    assert changed["training"]["optimizer"]["learning_rate"] == {
        "kind": "exponential_decay", "initial_learning_rate": 0.1, "decay_steps": 5
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["digits", "make_circles", "nonsense"])
def test_misspelt_parameter_stays_to_be_reported(plain: dict[str, Any], kind: str) -> None:
    plain["data"]["n_sampels"] = 5
    assert applied(plain, f"data.kind={kind}")["data"]["n_sampels"] == 5


def test_same_kind_drops_nothing(plain: dict[str, Any]) -> None:
    plain["training"]["optimizer"]["beta_1"] = 0.8
    assert applied(plain, "training.optimizer.kind=sgd")["training"]["optimizer"]["beta_1"] == 0.8


WORDS = [
    "training.optimizer.momentum=0.9", "training.optimizer.kind=sgd", "training.optimizer={kind: adam, beta_1: 0.8}",
    "base.l2.l2=0.1",
]  # fmt: skip


@pytest.mark.parametrize("words", list(itertools.permutations([*WORDS, "base.batch_norm={}"])))
def test_order_of_overrides_does_not_matter(plain: dict[str, Any], words: tuple[str, ...]) -> None:
    changed = applied(plain, *words)
    assert changed["training"]["optimizer"] == {"kind": "sgd", "momentum": 0.9}
    assert list(changed["base"]) == ["batch_norm", "l2"]
