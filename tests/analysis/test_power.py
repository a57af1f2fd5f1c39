import math

import numpy as np
import pytest
from scipy import stats

from betterdl_cli.analysis.power import detectable, power, seeds_needed
from betterdl_cli.analysis.verdict import measure


@pytest.mark.parametrize("n", [12, 20, 30, 200])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.3])
def test_power_agrees_with_scipys_noncentral_t(n: int, effect: float) -> None:
    level = math.floor(0.05 * 2 ** (n - 1)) / 2 ** (n - 1) if n < 60 else 0.05
    expected = stats.nct.sf(stats.t.ppf(1 - level / 2, n - 1), n - 1, effect * n**0.5)
    assert power(effect, n) == pytest.approx(expected, abs=1e-6)


def test_power_with_new_splits_agrees_with_scipys_noncentral_t() -> None:
    level = math.floor(0.05 * 512) / 512
    expected = stats.nct.sf(stats.t.ppf(1 - level / 2, 9), 9, 1.5 / math.sqrt(0.1 + 0.25))
    assert power(1.5, 10, 0.05, 0.25) == pytest.approx(expected, abs=1e-6)


def test_with_six_pairs_power_is_that_of_six_equal_signs() -> None:
    assert power(1.5, 6) == pytest.approx(stats.norm.cdf(1.5) ** 6, abs=1e-12)


@pytest.mark.parametrize(("n", "effect"), [(10, 1.00), (20, 0.66), (30, 0.53)])
def test_detectable_effect_with_ten_pairs_and_more_is_that_of_paired_t(n: int, effect: float) -> None:
    assert detectable(n) == pytest.approx(effect, abs=0.006)


@pytest.mark.parametrize("n", [6, 7, 8, 10, 20])
def test_detectable_effect_is_found_in_four_of_five_cases(n: int) -> None:
    effect = detectable(n)
    assert effect is not None
    noise = np.random.default_rng(n).standard_normal((2_000, n))
    assert (measure(noise + effect, margin=None).deciding_p <= 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_five_pairs_need_equal_signs_too() -> None:
    assert detectable(5) == pytest.approx(stats.norm.ppf(0.8 ** (1 / 5)), abs=1e-6)


def test_too_few_pairs_find_nothing() -> None:
    assert detectable(4) is None


def test_a_level_that_no_pattern_reaches_finds_nothing() -> None:
    assert detectable(6, 0.0158) is None


def test_seeds_needed_is_the_fewest_that_find_it() -> None:
    needed = seeds_needed(0.01, 0.02)
    assert needed is not None
    assert power(0.5, needed) >= 0.8 > power(0.5, needed - 1)
    assert needed == 34  # as G*Power 3.1 and textbooks have it for a paired t test with dz = 0.5


def test_seeds_needed_for_a_harmful_effect_are_those_for_a_helpful_one() -> None:
    assert seeds_needed(-0.01, 0.02) == seeds_needed(0.01, 0.02)


@pytest.mark.parametrize("sd", [0.0, 0.001])
def test_never_fewer_than_six_seeds(sd: float) -> None:
    assert seeds_needed(0.1, sd) == 6


def test_no_number_of_seeds_finds_nothing() -> None:
    assert seeds_needed(0.0, 0.1) is None


def test_a_tiny_effect_needs_thousands() -> None:
    # (1.96 + 0.84)² / 0.01² = 78 489
    assert seeds_needed(0.01, 1.0) == pytest.approx(78_489, rel=1e-3)


def test_new_splits_of_few_rows_cannot_show_a_small_effect_however_many() -> None:
    assert seeds_needed(0.5, 1.0, 0.05, 0.25) is None


@pytest.mark.parametrize(("effect", "sd"), [(math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_what_is_no_effect_is_refused(effect: float, sd: float) -> None:
    with pytest.raises(ValueError, match="finite effect"):
        seeds_needed(effect, sd)
