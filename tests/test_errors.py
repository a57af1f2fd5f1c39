from __future__ import annotations

import pytest

from betterdl_cli.errors import BdlError, ConfigError, Fault, UsageError, counted, nearest, printable, shortened


def test_fault_names_place_path_message_and_suggestion() -> None:
    fault = Fault("expected a, found b", ("data", "split", 0), "c", "f.yaml", 3, 7)
    assert str(fault) == "f.yaml:3:7: data.split.0: expected a, found b (did you mean 'c'?)"


def test_fault_without_a_line_names_its_source_only() -> None:
    assert str(Fault("wrong", ("a",), file="override 'a=1'")) == "override 'a=1': a: wrong"


def test_fault_without_place_and_path_is_its_message() -> None:
    assert str(Fault("wrong")) == "wrong"


def test_fault_stays_on_one_line_without_control_characters() -> None:
    assert str(Fault("found '\x1b[2J'", ("a\nb",), file="ü.yaml")) == r"ü.yaml: a\nb: found '\x1b[2J'"


def test_fault_shortens_a_long_key_in_its_text_but_not_in_its_path() -> None:
    fault = Fault("unknown key", ("a", "k" * 100))
    assert str(fault) == f"a.{'k' * 39}…: unknown key"
    assert fault.dotted_path == f"a.{'k' * 100}"


def test_config_error_lists_all_its_faults() -> None:
    error = ConfigError([Fault("one", ("a",)), Fault("two", ("b",))])
    assert str(error) == "a: one\nb: two"
    assert [fault.message for fault in error.faults] == ["one", "two"]


@pytest.mark.parametrize(("kind", "code"), [(BdlError, 1), (UsageError, 2)])
def test_exit_code_of_an_error(kind: type[BdlError], code: int) -> None:
    assert kind("x").exit_code == code


def test_exit_code_of_a_config_error() -> None:
    assert ConfigError([]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("droput", "dropout"),
        ("Dropout", "dropout"),
        ("batch-norm", "batch_norm"),
        ("batchnorm", "batch_norm"),
        ("EarlyStopping", "early_stopping"),
        ("quantum", None),
        ("", None),
    ],
)
def test_nearest_valid_name(name: str, expected: str | None) -> None:
    assert nearest(name, ["dropout", "batch_norm", "early_stopping"]) == expected


def test_nearest_of_no_names_is_none() -> None:
    assert nearest("a", []) is None


@pytest.mark.parametrize(("length", "shown"), [(40, "x" * 40), (41, "x" * 39 + "…")])
def test_long_text_is_shortened_to_forty_characters(length: int, shown: str) -> None:
    assert shortened("x" * length) == shown


def test_printable_escapes_only_what_is_not() -> None:
    assert printable("≥ ü 'x'") == "≥ ü 'x'"
    assert printable("a\tb\udcff") == r"a\tb\udcff"


@pytest.mark.parametrize(("number", "words"), [(0, "0 runs"), (1, "1 run"), (2000, "2,000 runs")])
def test_a_number_of_things_has_the_right_plural(number: int, words: str) -> None:
    assert counted(number, "run") == words
