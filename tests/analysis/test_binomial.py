import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from betterdl_cli.analysis.binomial import Failures, binomial_cdf, mcnemar_p, share_interval, unseen_failure_rate

COUNTS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(deadline=None)
@given(COUNTS, st.floats(0, 1))
def test_cdf_agrees_with_scipy(counts: tuple[int, int], share: float) -> None:
    assert binomial_cdf(*counts, share) == pytest.approx(stats.binom.cdf(*counts, share), abs=1e-12)


def test_cdf_of_many_trials_does_not_overflow() -> None:
    assert binomial_cdf(5_000, 100_000, 0.0505) == pytest.approx(stats.binom.cdf(5_000, 100_000, 0.0505), rel=1e-8)


def test_cdf_below_zero_successes_is_zero() -> None:
    assert binomial_cdf(-1, 10, 0.3) == 0.0


def test_interval_of_no_success_by_hand() -> None:
    # (1 − high)¹⁰ = 0.025
    assert share_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1, abs=1e-12))


@settings(deadline=None)
@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_interval_agrees_with_scipy(counts: tuple[int, int], confidence: float) -> None:
    expected = stats.binomtest(*counts).proportion_ci(confidence, method="exact")
    assert share_interval(*counts, confidence) == pytest.approx((expected.low, expected.high), abs=1e-6)
    lower, upper = stats.beta.ppf(
        [(1 - confidence) / 2, (1 + confidence) / 2],
        [counts[0], counts[0] + 1],
        [counts[1] - counts[0] + 1, counts[1] - counts[0]],
    )
    if 0 < counts[0] < counts[1]:
        assert share_interval(*counts, confidence) == pytest.approx((lower, upper), abs=1e-10)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 4), (0, 0)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        share_interval(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        share_interval(1, 2, confidence)


def test_mcnemar_by_hand() -> None:
    # 6 seeds on which only one arm failed, always the same one: 2 / 2⁶
    assert mcnemar_p(6, 0) == 2 / 64


def test_mcnemar_without_discordant_pairs() -> None:
    assert mcnemar_p(0, 0) == 1.0


@given(st.integers(0, 20), st.integers(0, 20))
def test_mcnemar_agrees_with_scipy(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p(first, second) == pytest.approx(expected, rel=1e-10)


def test_bound_on_failures_that_nobody_saw() -> None:
    assert unseen_failure_rate(10) == pytest.approx(0.2589, abs=1e-4)
    assert (1 - unseen_failure_rate(7)) ** 7 == pytest.approx(0.05)


def test_no_run_bounds_nothing() -> None:
    assert unseen_failure_rate(0) == 1.0


def test_failures_of_two_arms() -> None:
    control = [True, True, True, False, True]
    treatment = [True, False, False, False, False]
    assert Failures.of(control, treatment) == Failures(5, both=1, only_control=3, only_treatment=0, p_value=0.25)


def test_failures_need_one_run_of_each_arm_per_seed() -> None:
    with pytest.raises(ValueError, match="one run of each arm per seed, found 1 and 2"):
        Failures.of([True], [True, False])
