from __future__ import annotations

import copy
from typing import Any

import pytest

from betterdl_cli.config.overrides import apply_overrides, parse_overrides
from betterdl_cli.config.reading import read_experiment


def parse_faults(*words: str) -> list[str]:
    overrides, faults = parse_overrides(words)
    assert not overrides
    return [str(fault) for fault in faults]


def applied(plain: dict[str, Any], *words: str, complete: bool = True) -> dict[str, Any]:
    overrides, unparsed = parse_overrides(words)
    changed, unfit = apply_overrides(plain, overrides, read_experiment(plain).resolved if complete else None)
    assert [str(fault) for fault in (*unparsed, *unfit)] == []
    return changed


def faults_of(plain: dict[str, Any], *words: str, complete: bool = True) -> list[str]:
    overrides, unparsed = parse_overrides(words)
    _, unfit = apply_overrides(plain, overrides, read_experiment(plain).resolved if complete else None)
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


def test_last_of_two_overrides_counts(plain: dict[str, Any]) -> None:
    assert applied(plain, "training.epochs=50", "training.epochs=60")["training"]["epochs"] == 60


def test_parameter_with_a_default_is_set(plain: dict[str, Any]) -> None:
    changed = applied(
        plain, "training.validation_batch_size=8", "training.optimizer.momentum=0.9", "store.weights=false"
    )
    assert changed["training"]["validation_batch_size"] == 8
    assert changed["training"]["optimizer"] == {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    assert changed["store"] == {"weights": False}


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
def test_technique_is_added_by_its_parameters(plain: dict[str, Any], section: str) -> None:
    assert applied(plain, f"{section}.l2={{l2: 0.1}}")[section] == {"l2": {"l2": 0.1}}


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

TOP = "unknown path: the config has name, data, model, training, base, techniques, arms, seeds, metric, store"


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
        ("training.optimizer.learning_rate.kind=x", "training.optimizer.learning_rate.kind: unknown path: "
         "training.optimizer.learning_rate is 0.1, without keys"),
        ("model.hidden.1=3", "model.hidden.1: unknown path: model.hidden has 0; found '1'"),
        ("model.hidden.-1=3", "model.hidden.-1: unknown path: model.hidden has 0; found '-1'"),
        ("model.hidden.x=3", "model.hidden.x: unknown path: model.hidden has 0; found 'x'"),
        ("model.hidden.00=3", "model.hidden.00: unknown path: model.hidden has 0; found '00' "
         "(did you mean '0'?)"),
        ("model.hidden.0.x=3", "model.hidden.0.x: unknown path: model.hidden.0 is 8, without keys"),
        ("techniques.droput.rate=0.4", "techniques.droput: unknown path: techniques has dropout; found 'droput' "
         "(did you mean 'dropout'?)"),
        ("techniques.dropout.rte=0.4", "techniques.dropout.rte: unknown path: techniques.dropout has rate, retention; "
         "found 'rte' (did you mean 'rate'?)"),
        ("base.l2.l2=0.1", "base.l2: unknown path: base has no keys; found 'l2'; to add it: 'base.l2={…}'"),
    ],
)  # fmt: skip
def test_unknown_path_is_refused(plain: dict[str, Any], word: str, message: str) -> None:
    plain["techniques"] = {"dropout": {"rate": 0.2}}
    assert faults_of(plain, word) == [f"override '{word}': {message}"]


def test_path_of_five_thousand_digits_is_refused(plain: dict[str, Any]) -> None:
    (fault,) = faults_of(plain, f"{'9' * 5000}=1")
    assert fault.endswith(f"found '{'9' * 39}…'")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.epochs=x", "expected a number (the config has 5), found the text 'x'"),
        ("training.epochs=true", "expected a number (the config has 5), found the truth value true"),
        ("training.epochs='7'", "expected a number (the config has 5), found the text '7'"),
        ("training.epochs={}", "expected a number (the config has 5), found a mapping"),
        ("training=5", "expected a mapping, found 5"),
        ("training.optimizer=adam", "expected a mapping, found the text 'adam'"),
        ("name=5", "expected a text (the config has the text 't'), found 5"),
        ("store.weights=no", "expected true or false (the config has the truth value true), found the text 'no'"),
        ("store.weights=1", "expected true or false (the config has the truth value true), found 1"),
    ],
)
def test_change_of_type_is_refused(plain: dict[str, Any], word: str, message: str) -> None:
    assert faults_of(plain, word) == [f"override '{word}': {word.partition('=')[0]}: change of type: {message}"]


def test_integer_and_fraction_are_both_numbers(plain: dict[str, Any]) -> None:
    assert applied(plain, "data.split.train=0.5")["data"]["split"]["train"] == 0.5


def test_all_overrides_that_do_not_fit_are_reported(plain: dict[str, Any]) -> None:
    assert len(faults_of(plain, "a", "foo=1", "training.epochs=x", "training.batch_size=8")) == 3


# ---- a file that is not valid by itself ----


def test_without_defaults_unknown_keys_are_left_to_the_check_of_the_whole(plain: dict[str, Any]) -> None:
    changed = applied(plain, "training.epoch=5", "foo.bar=1", complete=False)
    assert changed["training"]["epoch"] == 5
    assert changed["foo"] == {"bar": 1}


def test_without_defaults_a_faulty_value_can_be_replaced_by_another_type(plain: dict[str, Any]) -> None:
    plain["training"]["epochs"] = "many"
    assert applied(plain, "training.epochs=5", complete=False)["training"]["epochs"] == 5


@pytest.mark.parametrize("word", ["model.hidden.7=1", "model.hidden.7.x=1", "model.hidden.x.y=1", "name.x=1"])
def test_without_defaults_items_and_values_have_no_keys_either(plain: dict[str, Any], word: str) -> None:
    (fault,) = faults_of(plain, word, complete=False)
    assert "unknown path: " in fault
