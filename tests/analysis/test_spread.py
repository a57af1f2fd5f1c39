import itertools
import math

import numpy as np
import pytest

from betterdl_cli.analysis.spread import SpreadChange, deviations, spread_p


def test_deviations_are_from_the_median() -> None:
    assert deviations([1.0, 2.0, 9.0]).tolist() == [1.0, 0.0, 7.0]


def test_ratio_by_hand() -> None:
    control = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = SpreadChange.of(control, [3 * value for value in control])
    assert found is not None
    assert (found.n_pairs, found.ratio) == (10, 3.0)
    assert found.p_value == 2 / 2**10  # every deviation grew by the same


def test_p_is_that_of_swapping_within_pairs() -> None:
    rng = np.random.default_rng(2)
    before, after = deviations(rng.normal(0, 1, 10)), deviations(rng.normal(0, 2, 10))

    def log_ratio(swapped: tuple[bool, ...]) -> float:
        mask = np.array(swapped)
        return abs(math.log(np.where(mask, before, after).sum() / np.where(mask, after, before).sum()))

    ratios = np.array([log_ratio(swapped) for swapped in itertools.product((False, True), repeat=10)])
    assert spread_p(before, after) != 1.0
    rng = np.random.default_rng(2)
    p = spread_p(rng.normal(0, 1, 10), rng.normal(0, 2, 10))
    assert p == pytest.approx((ratios >= ratios[0] - 1e-12).mean(), abs=2 / 2**10)


def test_a_shift_is_no_spread() -> None:
    scores = np.random.default_rng(0).normal(0, 1, 12)
    found = SpreadChange.of(scores, scores + 5)
    assert found is not None
    assert found.ratio == pytest.approx(1.0)
    assert found.p_value > 0.1


def test_fewer_than_ten_pairs_say_nothing() -> None:
    assert SpreadChange.of([1.0] * 9, [2.0] * 9) is None


def test_without_a_spread_there_is_no_ratio() -> None:
    assert SpreadChange.of([1.0] * 10, [1.0] * 10) == SpreadChange(10, None, 1.0)


@pytest.mark.parametrize("treatment", [[1.0] * 9, [math.nan] * 10])
def test_scores_that_make_no_pairs_are_refused(treatment: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite score of each arm per seed"):
        SpreadChange.of([1.0] * 10, treatment)
