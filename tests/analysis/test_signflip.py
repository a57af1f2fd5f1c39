import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from betterdl_cli.analysis.signflip import MOST_ENUMERATED, sign_flip_p, tolerance


def scipy_p(differences: list[float]) -> float:
    found = stats.permutation_test(
        (np.array(differences),),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    return float(found.pvalue)


def whole_number_p(steps: list[int]) -> float:
    """By brute force in whole numbers, where nothing is rounded."""
    seen = abs(sum(steps))
    sums = [
        abs(sum(sign * step for sign, step in zip(signs, steps, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(steps))
    ]
    return sum(value >= seen for value in sums) / len(sums)


def test_one_pair_can_say_nothing() -> None:
    assert sign_flip_p([0.3]) == 1.0


def test_three_pairs_by_hand() -> None:
    # sums of ±1 ±2 ±4: 7, 5, 3, 1 and their negatives; seen 5, as far from 0 as 7, 5, −5, −7
    assert sign_flip_p([-1.0, 2.0, 4.0]) == 4 / 8


@pytest.mark.parametrize("n", [2, 5, 6, 10, 16])
def test_equal_differences_give_the_smallest_p(n: int) -> None:
    assert sign_flip_p([0.1] * n) == 2 / 2**n


@pytest.mark.parametrize("n", [1, 6, 20])
def test_all_zero_differences_give_one(n: int) -> None:
    assert sign_flip_p([0.0] * n) == 1.0


def test_zeros_change_nothing() -> None:
    assert sign_flip_p([0.1, 0.2, -0.05, 0.3]) == sign_flip_p([0.1, 0.0, 0.2, -0.05, 0.0, 0.3])


@pytest.mark.parametrize("n", [2, 5, 6, 8, 10, 12])
def test_agrees_with_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1.0, n).tolist()
    assert sign_flip_p(differences) == pytest.approx(scipy_p(differences), abs=1e-12)


def test_agrees_with_scipy_with_16_pairs() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1.0, 16).tolist()
    assert sign_flip_p(differences) == pytest.approx(scipy_p(differences), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9), st.sampled_from([0.1, 1 / 3, 0.001, 1 / 360, 7e8]))
def test_ties_are_counted_as_in_whole_numbers(steps: list[int], unit: float) -> None:
    assert sign_flip_p([step * unit for step in steps]) == whole_number_p(steps)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(300, 360), st.integers(300, 360)), min_size=1, max_size=9))
def test_ties_of_float32_accuracies_are_counted_as_in_whole_numbers(right: list[tuple[int, int]]) -> None:
    def stored(count: int) -> float:
        return float(str(np.float32(count / 360)))

    differences = [stored(after) - stored(before) for before, after in right]
    assert sign_flip_p(differences) == whole_number_p([after - before for before, after in right])


def test_one_huge_difference_does_not_make_everything_a_tie() -> None:
    assert sign_flip_p([1e9] + [0.1] * 9) == 2 / 2**10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=18), st.randoms(use_true_random=False))
def test_neither_order_nor_exchanging_the_arms_changes_p(differences: list[float], random: object) -> None:
    shuffled = list(differences)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sign_flip_p(differences) == sign_flip_p(shuffled) == sign_flip_p([-value for value in differences])


@pytest.mark.parametrize("n", [MOST_ENUMERATED, MOST_ENUMERATED + 1, 30])
def test_many_experiments_at_once_get_what_each_gets_alone(n: int) -> None:
    several = np.random.default_rng(7).normal(0.3, 1.0, (2, 9, n))
    alone = [[float(sign_flip_p(row)) for row in block] for block in several]
    assert sign_flip_p(several).tolist() == alone


def test_resampling_is_close_to_full_enumeration() -> None:
    differences = np.random.default_rng(5).integers(-6, 9, 18).tolist()
    ways = {0: 1}  # how many sign patterns give each sum
    for step in differences:
        following: dict[int, int] = {}
        for total, count in ways.items():
            for value in (total + step, total - step):
                following[value] = following.get(value, 0) + count
        ways = following
    exact = sum(count for total, count in ways.items() if abs(total) >= abs(sum(differences))) / 2**18
    assert sign_flip_p(differences) == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 99_999) ** 0.5)


def test_resampled_p_never_is_zero_and_always_the_same() -> None:
    assert sign_flip_p([1.0] * 30) == sign_flip_p([1.0] * 30) == 1 / 100_000


def test_more_than_64_pairs() -> None:
    assert 0.001 < sign_flip_p(np.random.default_rng(0).normal(0, 1, 100)) <= 1.0


def test_tolerance_is_a_thousandth_of_the_median_size_that_is_not_zero() -> None:
    assert tolerance([0.0, -2.0, 3.0, 0.0, 900.0]) == pytest.approx(3e-3, rel=1e-3)


@pytest.mark.parametrize("differences", [[], 0.1])
def test_no_differences_are_refused(differences: object) -> None:
    with pytest.raises(ValueError, match="at least 1 difference"):
        sign_flip_p(differences)  # type: ignore[arg-type]
