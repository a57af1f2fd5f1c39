from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, StrictBool, StrictInt, StrictStr

from betterdl_cli.errors import Fault
from betterdl_cli.parameters import bound, check, check_kind, found
from betterdl_cli.registry import UnknownKindError
from betterdl_cli.spec import Frozen


class Inner(Frozen):
    on: StrictBool = True


class Sample(Frozen):
    count: StrictInt = Field(ge=1, le=1_000_000)
    share: float = Field(default=0.5, gt=0, lt=1)
    label: StrictStr = "a"
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[Annotated[StrictInt, Field(ge=1)], ...] = Field(default=(1,), min_length=1)
    limit: float | None = None
    choice: StrictBool | tuple[StrictInt, ...] = False
    inner: Inner = Inner()


def faults_of(value: Any, **options: Any) -> list[str]:
    faults: list[Fault] = []
    assert check(Sample, value, ("p",), faults, **options) is None
    return [str(fault) for fault in faults]


def test_valid_mapping_becomes_an_instance_with_defaults() -> None:
    faults: list[Fault] = []
    assert check(Sample, {"count": 3, "sizes": [2, 4]}, (), faults) == Sample(count=3, sizes=(2, 4))
    assert not faults


def test_integer_is_taken_for_a_number() -> None:
    sample = check(Sample, {"count": 1, "limit": 2}, (), [])
    assert sample is not None
    assert type(sample.limit) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": True}, "p.count: expected an integer, found the truth value true"),
        ({"count": "x"}, "p.count: expected an integer, found the text 'x'"),
        ({"count": 2.0}, "p.count: expected an integer, found 2.0"),
        ({"count": None}, "p.count: expected an integer, found nothing"),
        ({"count": {}}, "p.count: expected an integer, found a mapping"),
        ({"count": 0}, "p.count: expected a number ≥ 1, found 0"),
        ({"count": 2_000_000}, "p.count: expected a number ≤ 1000000, found 2000000"),
        ({"count": 10**99}, f"p.count: expected a number ≤ 1000000, found {10**99}"),
        ({"share": 0}, "p.share: expected a number > 0, found 0"),
        ({"share": 1.0}, "p.share: expected a number < 1, found 1.0"),
        ({"share": True}, "p.share: expected a number, found the truth value true"),
        ({"share": float("nan")}, "p.share: expected a finite number, found nan"),
        ({"share": float("-inf")}, "p.share: expected a finite number, found -inf"),
        ({"share": [0.1]}, "p.share: expected a number, found a list"),
        ({"label": 5}, "p.label: expected a text, found 5"),
        ({"label": False}, "p.label: expected a text, found the truth value false"),
        ({"mode": "fsat"}, "p.mode: expected 'fast' or 'slow', found the text 'fsat' (did you mean 'fast'?)"),
        ({"mode": 1}, "p.mode: expected 'fast' or 'slow', found 1"),
        ({"sizes": 3}, "p.sizes: expected a list, found 3"),
        ({"sizes": []}, "p.sizes: expected at least 1 value, found none"),
        ({"sizes": [1, "x"]}, "p.sizes.1: expected an integer, found the text 'x'"),
        ({"sizes": [0]}, "p.sizes.0: expected a number ≥ 1, found 0"),
        ({"limit": "x"}, "p.limit: expected a number, found the text 'x'"),
        ({"choice": "x"}, "p.choice: expected true or false, found the text 'x'"),
        ({"choice": {"a": 1}}, "p.choice: expected true or false, found a mapping"),
        ({"inner": 1}, "p.inner: expected a mapping, found 1"),
        ({"inner": {"on": "no"}}, "p.inner.on: expected true or false, found the text 'no'"),
        ({"cuont": 1}, "p.cuont: unknown key; expected one of: count, share, label, mode, sizes, limit, choice, inner "
                       "(did you mean 'count'?)"),
        ({"inner": {"off": True}}, "p.inner.off: unknown key; expected one of: on"),
    ],
)  # fmt: skip
def test_one_fault_says_where_what_was_expected_and_found(given: dict[str, Any], message: str) -> None:
    assert faults_of({"count": 1, **given}) == [message]


def test_missing_value() -> None:
    assert faults_of({}) == ["p.count: required key is missing; expected an integer"]


class Everything(Frozen):
    truth: StrictBool
    rows: int | float
    maybe: str | None
    several: tuple[StrictInt, ...] = Field(description="sizes")
    mode: Literal["fast", "slow"]


def test_missing_value_of_each_type() -> None:
    faults: list[Fault] = []
    check(Everything, {}, (), faults)
    assert [fault.message.removeprefix("required key is missing; expected ") for fault in faults] == [
        "true or false", "a number", "a text", "a list: sizes", "a value"
    ]  # fmt: skip


def test_all_faults_of_a_mapping_are_reported() -> None:
    assert len(faults_of({"count": 0, "share": 2, "sizes": [0, 0], "x": 1})) == 5


def test_unknown_key_names_further_keys_of_the_place() -> None:
    (fault,) = faults_of({"count": 1, "splt": 1}, others=("split",))
    assert fault.endswith("inner, split (did you mean 'split'?)")


def test_class_without_parameters_says_so() -> None:
    class Nothing(Frozen):
        pass

    faults: list[Fault] = []
    check(Nothing, {"a": 1}, (), faults)
    assert str(faults[0]) == "a: unknown key; this takes no parameters"
    assert faults[0].at_key


@pytest.mark.parametrize("value", [5, "x", [1], None])
def test_anything_but_a_mapping_is_refused(value: object) -> None:
    assert faults_of(value) == [f"p: expected a mapping (key: value), found {found(value)}"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "the truth value true"),
        (3, "3"),
        (0.1, "0.1"),
        (1e-07, "1e-07"),
        ("", "the text ''"),
        ("y" * 50, f"the text '{'y' * 39}…'"),
        ({"a": 1}, "a mapping"),
        ([1], "a list"),
    ],
)
def test_value_in_words(value: object, words: str) -> None:
    assert found(value) == words


@pytest.mark.parametrize(
    ("number", "words"), [(1_000_000, "1000000"), (2**32 - 1, "4294967295"), (0.0, "0"), (1e-5, "1e-05")]
)
def test_end_of_a_range_in_words(number: float, words: str) -> None:
    assert bound(number) == words


# ---- kinds ----


def by_kind(value: Any, **options: Any) -> tuple[tuple[str, Sample] | None, list[str]]:
    faults: list[Fault] = []

    def get(kind: str) -> type[Sample]:
        if kind != "sample":
            raise UnknownKindError("example", kind, ("sample", "other"))
        return Sample

    checked = check_kind(value, ("m",), faults, get, ("sample", "other"), **options)
    return checked, [str(fault) for fault in faults]


def test_kind_chooses_the_class() -> None:
    assert by_kind({"kind": "sample", "count": 2}) == (("sample", Sample(count=2)), [])


def test_kind_may_have_a_default() -> None:
    assert by_kind({"count": 2}, default="sample") == (("sample", Sample(count=2)), [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1}, "m: expected a kind (kind: sample | other), found none"),
        ({"kind": None}, "m: expected a kind (kind: sample | other), found none"),
        ({"kind": 5}, "m.kind: expected a name, found 5"),
        ("sample", "m: expected a mapping with a kind, found the text 'sample'"),
        ({"kind": "smaple"}, "m.kind: expected the name of an example (sample, other), found 'smaple' "
                             "(did you mean 'sample'?)"),
        ({"kind": "sample", "count": 0}, "m.count: expected a number ≥ 1, found 0"),
    ],
)  # fmt: skip
def test_kind_that_is_refused(given: Mapping[str, Any] | str, message: str) -> None:
    assert by_kind(given) == (None, [message])
