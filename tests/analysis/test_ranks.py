import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from betterdl_cli.analysis.ranks import EpochsToTarget, wilcoxon_p


def test_three_pairs_by_hand() -> None:
    # ranks 1, 2, 3; the negative one has rank 1: sums of at most 1 come from 2 of the 8 patterns, both sides 4
    assert wilcoxon_p([-1, 5, 8]) == 4 / 8


def test_all_faster_gives_the_smallest_p() -> None:
    assert wilcoxon_p([-3, -9, -1, -4, -2, -8]) == 2 / 64


def test_zeros_are_left_out() -> None:
    assert wilcoxon_p([0, -1, 5, 0, 8]) == wilcoxon_p([-1, 5, 8])


@pytest.mark.parametrize("differences", [[], [0.0, 0.0]])
def test_nothing_but_zeros_gives_one(differences: list[float]) -> None:
    assert wilcoxon_p(differences) == 1.0


@pytest.mark.parametrize("n", [4, 9, 20, 40])
def test_agrees_with_scipy_without_ties(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1.0, n)
    assert wilcoxon_p(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9).filter(lambda row: any(row)))
def test_agrees_with_scipy_with_ties(differences: list[int]) -> None:
    # SciPy counts all sign patterns when asked to permute as often as it can; zeros left out beforehand
    values = np.array([value for value in differences if value != 0])
    every = stats.PermutationMethod(n_resamples=np.inf)
    expected = stats.wilcoxon(values, method=every).pvalue if len(values) > 1 else 1.0
    assert wilcoxon_p(differences) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("differences", [[math.nan, 1.0], [math.inf], 3.0])
def test_what_is_no_difference_is_refused(differences: object) -> None:
    with pytest.raises(ValueError, match="finite differences"):
        wilcoxon_p(differences)  # type: ignore[arg-type]


def test_never_reached_counts_as_one_epoch_more_than_planned() -> None:
    found = EpochsToTarget.of([10, None, 30, None], [5, 12, None, None], epochs=50)
    # differences −5, −39, +21, 0
    assert found == EpochsToTarget(
        n_pairs=4,
        control_reached=2,
        treatment_reached=3 - 1,
        faster=2,
        slower=1,
        median_difference=-2.5,
        p_value=wilcoxon_p([-5, -39, 21]),
    )


def test_no_pairs_have_no_median() -> None:
    assert EpochsToTarget.of([], [], epochs=5) == EpochsToTarget(0, 0, 0, 0, 0, None, None)


def test_epochs_need_one_run_of_each_arm_per_seed() -> None:
    with pytest.raises(ValueError, match="one run of each arm per seed"):
        EpochsToTarget.of([1], [], epochs=5)
