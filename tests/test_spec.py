from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from betterdl_cli.errors import Fault
from betterdl_cli.parameters import check
from betterdl_cli.spec import (
    ArmSpec,
    DataSpec,
    Difference,
    LayerSpec,
    SplitSpec,
    TrainingSpec,
    canonical_digest,
    differences,
    show,
)

HIDDEN = LayerSpec(name="h", kind="Dense", arguments={"units": 4}, block="h", hidden=True)
POOL = LayerSpec(name="h_pool", kind="MaxPooling2D", block="h")
SECOND = LayerSpec(name="g", kind="Dense", arguments={"units": 2}, block="g", hidden=True)
OUTPUT = LayerSpec(name="output", kind="Output")
ARM = ArmSpec(
    data=DataSpec(kind="digits", split=SplitSpec(train=10, test=5)),
    layers=(HIDDEN, POOL, SECOND, OUTPUT),
    training=TrainingSpec(optimizer={"kind": "sgd", "learning_rate": 0.1}, epochs=3),
)


def noise(hidden: LayerSpec) -> LayerSpec:
    return LayerSpec(name=f"{hidden.name}_n", kind="GaussianNoise", block=hidden.name)


def names(arm: ArmSpec) -> list[str]:
    return [layer.name for layer in arm.layers]


def texts(before: ArmSpec, after: ArmSpec) -> list[str]:
    return [str(difference) for difference in differences(before, after)]


# ---- splits ----


def split_faults(**values: Any) -> list[str]:
    faults: list[Fault] = []
    check(SplitSpec, values, (), faults)
    return [str(fault) for fault in faults]


ROWS = "expected a number of rows (1, 2, …) or a fraction between 0 and 1"
VALIDATION_ROWS = "expected a number of rows (1, 2, …), a fraction between 0 and 1, test (monitor the test set) or null"


@pytest.mark.parametrize("validation", [None, "test", 7, 0.25])
def test_validation_part_may_be_absent_the_test_set_rows_or_a_fraction(validation: object) -> None:
    assert split_faults(train=0.5, test=0.25, validation=validation) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [(True, "the truth value true"), (0, "0"), (-3, "-3"), (1.0, "1.0"), (0.0, "0.0"), ("x", "the text 'x'"),
     ([1], "a list"), (None, "nothing")],
)  # fmt: skip
def test_rows_that_are_refused(given: object, words: str) -> None:
    assert split_faults(train=given, test=5) == [f"train: {ROWS}, found {words}"]


@pytest.mark.parametrize(
    ("given", "words"), [(False, "the truth value false"), ("tst", "the text 'tst'"), (1.5, "1.5")]
)
def test_validation_rows_that_are_refused(given: object, words: str) -> None:
    assert split_faults(train=5, test=5, validation=given) == [f"validation: {VALIDATION_ROWS}, found {words}"]


def test_fractions_may_add_up_to_one_in_floating_point() -> None:
    assert split_faults(train=0.33, validation=0.56, test=0.11) == []  # their sum is 1.0000000000000002


def test_fractions_above_one_are_refused() -> None:
    assert split_faults(train=0.6, validation=0.3, test=0.3) == [
        "expected fractions that add up to at most 1, found 1.2"
    ]


def test_given_order_and_a_new_split_per_seed_are_allowed_apart() -> None:
    assert split_faults(train=5, test=5, order="given") == []
    assert split_faults(train=5, test=5, resplit=True) == []


def test_new_split_per_seed_needs_shuffling() -> None:
    assert split_faults(train=5, test=5, order="given", resplit=True) == [
        "expected order: shuffled with resplit: true, found order: given"
    ]


# ---- identity ----


def test_arm_survives_json() -> None:
    assert ArmSpec.from_json(ARM.to_json()) == ARM


def test_a_seed_stream_is_written_only_where_there_is_one() -> None:
    assert "seed_stream" not in ARM.to_json()  # so that the digests of stored runs stay what they are
    other = ARM.model_copy(update={"seed_stream": "control-aa"})
    assert other.to_json()["seed_stream"] == "control-aa"
    assert ArmSpec.from_json(other.to_json()) == other
    assert other.digest != ARM.digest


def test_canonical_digest_is_sha256_of_sorted_json_without_spaces() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5,null],"b":"x"}').hexdigest()
    assert canonical_digest({"b": "x", "a": [1, 2.5, None]}) == expected


def test_non_finite_number_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_digest([float("nan")])


@pytest.mark.parametrize(
    "other",
    [
        ARM.with_training(epochs=4),
        ARM.with_training(optimizer={"kind": "sgd", "learning_rate": 0.2}),
        ARM.with_preprocessing({"kind": "standard"}),
        ARM.with_controller({"kind": "early_stopping"}),
        ARM.with_layers((SECOND, HIDDEN, POOL, OUTPUT)),
        ARM.model_copy(update={"data": ARM.data.model_copy(update={"row_limit": 4})}),
    ],
)
def test_digest_depends_on_everything_trained(other: ArmSpec) -> None:
    assert other.digest != ARM.digest


def test_nothing_changes_after_construction() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ARM.training.epochs = 5  # type: ignore[misc]


def test_the_least_and_the_most_epochs() -> None:
    assert (TrainingSpec(epochs=1).epochs, TrainingSpec(epochs=1_000_000).epochs) == (1, 1_000_000)


@pytest.mark.parametrize("epochs", [0, 1_000_001, 2.0, True])
def test_number_of_epochs_that_is_refused(epochs: Any) -> None:
    with pytest.raises(ValidationError):
        TrainingSpec(epochs=epochs)


# ---- changing ----


def test_layer_goes_right_behind_every_hidden_layer() -> None:
    changed = ARM.insert_after_hidden(noise, end_of_block=False)
    assert names(changed) == ["h", "h_n", "h_pool", "g", "g_n", "output"]


def test_layer_goes_behind_all_that_belongs_to_a_hidden_layer() -> None:
    changed = ARM.insert_after_hidden(noise, end_of_block=True)
    assert names(changed) == ["h", "h_pool", "h_n", "g", "g_n", "output"]


def test_layer_goes_first() -> None:
    assert names(ARM.insert_first(noise(HIDDEN))) == ["h_n", "h", "h_pool", "g", "output"]


def test_only_hidden_layers_are_mapped() -> None:
    changed = ARM.map_hidden(lambda layer: layer.model_copy(update={"kind": "X"}))
    assert [layer.kind for layer in changed.layers] == ["X", "MaxPooling2D", "X", "Output"]


def test_preprocessing_and_controllers_are_appended() -> None:
    changed = ARM.with_preprocessing({"kind": "a"}).with_preprocessing({"kind": "b"}).with_controller({"kind": "c"})
    assert [step["kind"] for step in changed.data.preprocessing] == ["a", "b"]
    assert [controller["kind"] for controller in changed.controllers] == ["c"]


# ---- differences ----


def test_equal_arms_do_not_differ() -> None:
    assert differences(ARM, ArmSpec.from_json(ARM.to_json())) == ()


def test_changed_value_shows_before_and_after() -> None:
    assert texts(ARM, ARM.with_training(epochs=9)) == ["~ training.epochs: 3 → 9"]


def test_added_layer_shows_its_arguments_and_its_place() -> None:
    layer = LayerSpec(name="d", kind="Dropout", arguments={"rate": 0.5}, block="h")
    assert texts(ARM, ARM.with_layers((HIDDEN, layer, POOL, SECOND, OUTPUT))) == [
        "+ layers.d: Dropout(rate=0.5) after h"
    ]
    assert texts(ARM, ARM.insert_first(layer)) == ["+ layers.d: Dropout(rate=0.5) after the input"]


def test_removed_layer_is_shown() -> None:
    assert texts(ARM, ARM.with_layers((HIDDEN, SECOND, OUTPUT))) == ["- layers.h_pool: MaxPooling2D() after h"]


def test_changed_argument_of_a_layer() -> None:
    wider = HIDDEN.model_copy(update={"arguments": {"units": 8}})
    assert texts(ARM, ARM.with_layers((wider, POOL, SECOND, OUTPUT))) == ["~ layers.h.units: 4 → 8"]


def test_changed_order_of_layers() -> None:
    (difference,) = differences(ARM, ARM.with_layers((SECOND, HIDDEN, POOL, OUTPUT)))
    assert difference.path == "layers.order"
    assert difference.after == ["g", "h", "h_pool", "output"]


def test_added_controller_and_preprocessing() -> None:
    changed = ARM.with_preprocessing({"kind": "minmax"}).with_controller({"kind": "early_stopping", "patience": 2})
    assert texts(ARM, changed) == [
        "+ data.preprocessing.minmax: {kind: minmax}",
        "+ controllers.early_stopping: {patience: 2}",
    ]


def test_changed_optimizer_argument() -> None:
    changed = ARM.with_training(optimizer={"kind": "sgd", "learning_rate": 0.01, "momentum": 0.9})
    assert texts(ARM, changed) == [
        "~ training.optimizer.learning_rate: 0.1 → 0.01",
        "+ training.optimizer.momentum: 0.9",
    ]


def test_numbers_that_differ_late_are_shown_differing() -> None:
    assert str(Difference(path="p", before=0.12345678, after=0.12345679)) == "~ p: 0.12345678 → 0.12345679"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1e-7, "1e-07"), (3, "3"), (True, "true"), (None, "null"), ([1, [2]], "[1, [2]]"),
     ({"a": 0.1, "b": "x"}, "{a: 0.1, b: x}")],
)  # fmt: skip
def test_value_on_one_line(value: object, text: str) -> None:
    assert show(value) == text
