import math
from typing import Any

import numpy as np
import pytest

from betterdl_cli.datasets.base import Table
from betterdl_cli.spec import DataSpec, SplitSpec
from betterdl_cli.tasks import TASKS
from betterdl_cli.training import data as training_data
from betterdl_cli.training.data import SplitError, data_faults, load_parts, split_rows

BINARY, REGRESSION = TASKS["binary"], TASKS["regression"]


def table(rows: int = 20, classes: int = 2) -> Table:
    """Row i holds the number i; the classes take turns."""
    return Table(np.arange(rows, dtype=np.float32)[:, None], np.arange(rows, dtype=np.int32) % classes, classes)


def splitting(row_limit: int | None = None, **split: Any) -> DataSpec:
    return DataSpec(kind="make_circles", split=SplitSpec(**split), row_limit=row_limit)


def sizes(split: Any) -> list[int | None]:
    return [None if rows is None else len(rows) for rows in (split.train, split.validation, split.test)]


# ---- which rows go where ----


def test_given_order_takes_the_first_rows_then_the_next() -> None:
    split = split_rows(splitting(train=5, validation=3, test=4, order="given"), table(), BINARY, 0)
    assert split.train.tolist() == [0, 1, 2, 3, 4]
    assert split.validation is not None
    assert split.validation.tolist() == [5, 6, 7]
    assert split.test.tolist() == [8, 9, 10, 11]


def test_fractions_are_of_all_rows() -> None:
    split = split_rows(splitting(train=0.5, validation=0.2, test=0.3), table(), BINARY, 0)
    assert sizes(split) == [10, 4, 6]


def test_fractions_are_rounded_down_but_not_by_binary_arithmetic() -> None:
    assert sizes(split_rows(splitting(train=0.29, test=0.7, order="given"), table(100), BINARY, 0)) == [29, None, 70]
    assert sizes(split_rows(splitting(train=0.35, test=0.35, order="given"), table(19), BINARY, 0)) == [6, None, 6]


def test_rows_and_fractions_may_be_mixed() -> None:
    assert sizes(split_rows(splitting(train=0.5, test=4), table(), BINARY, 0)) == [10, None, 4]


def test_parts_never_share_a_row() -> None:
    split = split_rows(splitting(train=0.5, validation=0.25, test=0.25), table(), BINARY, 0)
    assert split.validation is not None
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(20))


def test_shuffled_parts_have_the_shares_of_the_classes() -> None:
    skewed = Table(np.zeros((40, 1), np.float32), np.repeat([0, 1], [30, 10]).astype(np.int32), 2)
    split = split_rows(splitting(train=20, validation=8, test=12), skewed, BINARY, 0)
    assert split.validation is not None
    assert [int(skewed.y[rows].sum()) for rows in (split.train, split.validation, split.test)] == [5, 2, 3]


def test_the_shuffle_depends_on_the_seed_of_the_split_and_not_on_that_of_the_run() -> None:
    one = split_rows(splitting(train=10, test=5), table(), BINARY, 0).train.tolist()
    assert split_rows(splitting(train=10, test=5), table(), BINARY, 7).train.tolist() == one
    assert split_rows(splitting(train=10, test=5, seed=1), table(), BINARY, 0).train.tolist() != one
    assert one != sorted(one)


def test_resplit_draws_another_split_per_run() -> None:
    one, two, again = (
        split_rows(splitting(train=10, test=5, resplit=True), table(), BINARY, seed).train.tolist()
        for seed in (0, 1, 0)
    )
    assert one != two
    assert one == again


def test_validation_test_monitors_the_test_rows() -> None:
    split = split_rows(splitting(train=10, test=6, validation="test"), table(), BINARY, 0)
    assert split.validation is split.test


def test_without_validation_there_is_none() -> None:
    assert split_rows(splitting(train=10, test=6), table(), BINARY, 0).validation is None


def test_regression_needs_no_classes() -> None:
    values = Table(np.zeros((10, 1), np.float32), np.linspace(0, 1, 10, dtype=np.float32))
    assert sizes(split_rows(splitting(train=1, test=9), values, REGRESSION, 0)) == [1, None, 9]


# ---- the row limit of a smoke run ----


def test_the_row_limit_keeps_order_and_every_class() -> None:
    sorted_rows = Table(np.zeros((20, 1), np.float32), np.repeat([0, 1], 10).astype(np.int32), 2)
    even = Table(sorted_rows.x, np.tile([0, 1], 10).astype(np.int32), 2)
    spec = splitting(train=12, test=8, order="given", row_limit=4)
    assert split_rows(spec, even, BINARY, 0).train.tolist() == [0, 1, 2, 3]
    mixed = Table(sorted_rows.x, np.array([0] * 9 + [1] * 3 + [0, 1] * 4, np.int32), 2)
    assert split_rows(spec, mixed, BINARY, 0).train.tolist() == [0, 1, 9, 10]


def test_the_row_limit_leaves_smaller_parts_alone() -> None:
    assert sizes(split_rows(splitting(train=12, test=3, row_limit=5), table(), BINARY, 0)) == [5, None, 3]


# ---- what the data do not allow ----


def test_more_rows_than_there_are() -> None:
    with pytest.raises(SplitError) as caught:
        split_rows(splitting(train=15, validation=3, test=4), table(), BINARY, 0)
    assert str(caught.value) == (
        "expected at most 20 rows, as many as there are; found train 15 + validation 3 + test 4 = 22"
    )


def test_a_fraction_of_less_than_one_row() -> None:
    with pytest.raises(SplitError, match=r"expected at least one row, found 0.01 of 20 rows") as caught:
        split_rows(splitting(train=0.5, test=0.01), table(), BINARY, 0)
    assert caught.value.part == "test"


def test_a_part_without_a_class_in_given_order() -> None:
    with pytest.raises(SplitError, match=r"the test part \(1 rows\), found none of class 0") as caught:
        split_rows(splitting(train=3, test=1, order="given"), table(), BINARY, 0)
    assert caught.value.part == "test"


def test_a_part_too_small_for_all_classes_when_shuffled() -> None:
    with pytest.raises(SplitError) as caught:
        split_rows(splitting(train=1, validation=5, test=5), table(), BINARY, 0)
    assert str(caught.value) == (
        "expected rows of every class in every part, found too few: train 1, validation 5, test 5 rows, "
        "from 10 of class 0, 10 of class 1"
    )
    assert caught.value.part == "train"


def test_a_class_with_a_single_row() -> None:
    lonely = Table(np.zeros((20, 1), np.float32), np.array([1] + [0] * 19, np.int32), 2)
    with pytest.raises(SplitError, match="19 of class 0, 1 of class 1"):
        split_rows(splitting(train=10, test=10), lonely, BINARY, 0)


def test_faults_name_their_key_in_the_config() -> None:
    faults = data_faults(splitting(train=1, test=900), [0])
    assert [fault.path for fault in faults] == [("data", "split", "train")]
    assert data_faults(splitting(train=100, test=900), [0]) == []


def test_with_resplit_every_seed_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def record(spec: DataSpec, loaded: Table, task: Any, seed: int) -> None:
        asked.append(seed)

    monkeypatch.setattr(training_data, "split_rows", record)
    data_faults(splitting(train=10, test=10, resplit=True), [3, 5])
    data_faults(splitting(train=10, test=10), [3, 5])
    assert asked == [3, 5, 3]


# ---- what the network sees ----


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Table:
    """Two columns; the test rows lie far outside the training rows."""
    x = np.array([[0, 10], [2, 10], [4, 10], [6, 10], [100, 30], [-100, -10]], np.float32)
    loaded = Table(x, np.array([0, 1, 0, 1, 0, 1], np.int32), 2)
    monkeypatch.setattr(training_data, "load_table", lambda spec: loaded)
    return loaded


def scaled(kind: str) -> Any:
    split = SplitSpec(train=4, test=2, order="given")
    return load_parts(DataSpec(kind="make_circles", split=split, preprocessing=({"kind": kind},)), 0)


@pytest.mark.usefixtures("columns")
def test_standardising_uses_the_mean_and_sd_of_the_training_rows() -> None:
    parts, sd = scaled("standard"), math.sqrt(5)
    assert parts.train.x[:, 0].tolist() == pytest.approx([-3 / sd, -1 / sd, 1 / sd, 3 / sd])
    assert parts.test.x[:, 0].tolist() == pytest.approx([97 / sd, -103 / sd])


@pytest.mark.usefixtures("columns")
def test_a_constant_column_is_centred_and_not_divided_by_zero() -> None:
    parts = scaled("standard")
    assert parts.train.x[:, 1].tolist() == [0, 0, 0, 0]
    assert parts.test.x[:, 1].tolist() == [20, -20]


@pytest.mark.usefixtures("columns")
def test_minmax_uses_the_range_of_the_training_rows() -> None:
    parts = scaled("minmax")
    assert parts.train.x[:, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert parts.test.x[:, 0].tolist() == pytest.approx([100 / 6, -100 / 6])


def test_images_are_scaled_by_pixel() -> None:
    split = SplitSpec(train=200, test=100)
    spec = DataSpec(kind="digits", split=split, preprocessing=({"kind": "minmax"},))
    train = load_parts(spec, 0).train.x
    assert train.shape == (200, 8, 8, 1)
    assert (train.min(), train.max()) == (0, 1)
    varying = train.max(axis=0) > 0
    assert set(train.max(axis=0)[varying]) == {np.float32(1)}


def test_types_and_shapes_are_those_of_the_task() -> None:
    binary = load_parts(splitting(train=10, test=10), 0)
    digits = load_parts(DataSpec(kind="digits", split=SplitSpec(train=100, test=100)), 0)
    assert (binary.train.x.dtype, binary.train.y.dtype, binary.train.y.shape) == (np.float32, np.float32, (10, 1))
    assert (digits.train.x.dtype, digits.train.y.dtype, digits.train.y.shape) == (np.float32, np.int32, (100,))
    assert (binary.classes, digits.classes) == (2, 10)


# ---- fingerprints ----


def fingerprint(**changes: Any) -> str:
    parameters = {"n_samples": 60, "random_state": changes.pop("random_state", 1)}
    split = SplitSpec(**{"train": 20, "validation": 10, "test": 10, **changes})
    return load_parts(DataSpec(kind="make_circles", parameters=parameters, split=split), 0).fingerprint


def test_the_fingerprint_repeats() -> None:
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"random_state": 2},
        {"seed": 1},
        {"train": 21},
        {"validation": None},
        {"validation": "test"},
        {"order": "given"},
    ],
    ids=str,
)
def test_the_fingerprint_changes_with_the_data_and_with_the_rows(changes: dict[str, Any]) -> None:
    assert fingerprint(**changes) != fingerprint()


def test_the_fingerprint_changes_with_the_data_alone() -> None:
    assert fingerprint(random_state=2, order="given") != fingerprint(order="given")
