from __future__ import annotations

import math

import numpy as np
import pytest

from betterdl_cli.history import History, assumed_reference, diverged_at

LN2 = math.log(2)  # the loss of a constant guess of two classes


def diverged(losses: list[float], reference: float = LN2) -> int | None:
    return diverged_at(np.array(losses, np.float64), reference)


def test_falling_loss_has_not_diverged() -> None:
    assert diverged([0.7, 0.5, 0.3]) is None


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_loss_that_is_not_finite_diverged_at_its_epoch(broken: float) -> None:
    assert diverged([0.7, 0.6, broken, 0.5, 0.4]) == 3


def test_first_epoch_that_is_not_finite_counts() -> None:
    assert diverged([math.inf, 0.5, math.nan]) == 1


def test_loss_that_explodes_and_stays_diverged_where_it_left() -> None:
    assert diverged([0.7, 0.6, 5.0, 9.0, 7.0]) == 3


def test_loss_that_is_high_from_the_start_diverged_at_once() -> None:
    assert diverged([90.0, 80.0, 70.0]) == 1


def test_spike_that_recovers_has_not_diverged() -> None:
    assert diverged([2214.0, 0.6, 900.0, 0.5, 0.4]) is None


def test_only_the_last_rise_counts() -> None:
    assert diverged([0.7, 50.0, 0.6, 50.0, 60.0]) == 4


def test_binary_cross_entropy_that_saturates_at_eight_diverged() -> None:
    assert diverged([0.7] * 5 + [8.0] * 5) == 6  # 8 is 11.5 times ln 2


def test_ten_class_cross_entropy_that_saturates_at_fourteen_diverged() -> None:
    assert diverged([2.3] * 5 + [14.5] * 5, math.log(10)) == 6  # 14.5 is 6.3 times ln 10


def test_loss_at_exactly_three_times_the_reference_has_not_diverged() -> None:
    assert diverged([3.0, 3.0], 1.0) is None
    assert diverged([3.0, 3.0001], 1.0) == 2


def test_rise_in_the_last_tenth_is_enough() -> None:
    assert diverged([0.5] * 18 + [9.0] * 2) == 19


def test_rise_in_less_than_the_last_tenth_is_not_enough() -> None:
    assert diverged([0.5] * 19 + [9.0]) is None


def test_history_without_epochs_has_not_diverged() -> None:
    assert diverged([]) is None


def test_without_a_finite_reference_only_broken_losses_count() -> None:
    assert diverged([1e9, 1e9], math.inf) is None
    assert diverged([1e9, math.nan], math.inf) == 2
    assert diverged([0.5, 0.4], math.nan) is None


@pytest.mark.parametrize(
    ("metrics", "reference"),
    [
        ({"loss": [2.5, 0.1]}, 2.5),
        ({"loss": [0.1, 0.2]}, 0.1),
        ({"loss": [0.1, 0.2], "accuracy": [0.9, 0.8]}, LN2),
        ({"loss": [2.5, 0.1], "acc": [0.9, 0.8]}, 2.5),
        ({"loss": [0.0, 0.1]}, math.inf),
        ({"loss": [-3.0, -4.0]}, math.inf),
        ({"loss": [None, 0.1]}, math.inf),
        ({"loss": []}, math.inf),
        ({"val_loss": [1.0]}, math.inf),
        ({}, math.inf),
    ],
)
def test_reference_of_a_history_without_a_record(metrics: dict[str, list[float | None]], reference: float) -> None:
    assert assumed_reference(History.from_mapping(metrics)) == reference


# ---- histories ----


def test_missing_and_broken_values_become_nan_and_null() -> None:
    history = History.from_mapping({"loss": [1, None, math.inf], "val_loss": [0.5, 0.25, math.nan]})
    assert history["loss"].dtype == np.float64
    assert history["loss"][0] == 1.0
    assert math.isnan(history["loss"][1])
    assert history.to_mapping() == {"loss": [1.0, None, None], "val_loss": [0.5, 0.25, None]}


def test_names_and_number_of_epochs() -> None:
    history = History.from_mapping({"loss": [1, 2], "lr": np.array([0.1, 0.1])})
    assert list(history) == ["loss", "lr"]
    assert "lr" in history
    assert "val_loss" not in history
    assert history.epochs == 2


def test_empty_history_has_no_epochs() -> None:
    assert History({}).epochs == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": [1, 2], "acc": [1]}, "expected equally long series, found loss: 2, acc: 1"),
        ({"loss": 5}, "expected a list of numbers in 'loss', found int"),
        ({"loss": "abc"}, "expected a list of numbers in 'loss', found str"),
        ({"loss": [1, "x"]}, "expected numbers in 'loss', found 'x'"),
        ({"loss": [True]}, "expected numbers in 'loss', found True"),
        ({"loss": [10**400]}, "expected numbers in 'loss', found an integer out of range"),
    ],
)
def test_history_that_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        History.from_mapping(values)  # type: ignore[arg-type]
    assert str(caught.value) == message
