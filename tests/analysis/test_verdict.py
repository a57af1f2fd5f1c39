import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from betterdl_cli.analysis.verdict import Evidence, Verdict, judge, judge_all, measure, verdicts

# mean 0.02; sum of squares 0.0054, so sd = sqrt((0.0054 − 10 · 0.02²) / 9) = 0.0125
HELPFUL = [0.00, 0.01, 0.03, 0.02, 0.04, 0.02, 0.01, 0.01, 0.03, 0.03]
NOISE = [0.03, -0.02, 0.01, -0.04, 0.02, -0.01, 0.03, -0.03, 0.02, -0.01]


def evidence(
    differences: object, margin: float | None = 0.01, resplit: tuple[int, int] | None = None, alpha: float = 0.05
) -> Evidence:
    return judge(differences, higher_is_better=True, margin=margin, alpha=alpha, resplit=resplit)  # type: ignore[arg-type]


def test_mean_and_interval_by_hand() -> None:
    found = evidence(HELPFUL)
    sd = math.sqrt((0.0054 - 10 * 0.02**2) / 9)
    half = 2.262157162798205 * sd / math.sqrt(10)
    assert (found.mean_difference, found.sd) == (pytest.approx(0.02), pytest.approx(sd))
    assert found.ci95 == pytest.approx((0.02 - half, 0.02 + half))


def test_p_by_hand() -> None:
    # all but one are above 0 and that one is 0: only all signs alike are as far out, and the sign of 0 is free
    assert evidence(HELPFUL).p_value == 4 / 2**10


def test_wins_and_ties_with_the_interval_of_the_share() -> None:
    found = evidence(HELPFUL)
    expected = stats.binomtest(9, 10).proportion_ci(method="exact")
    assert (found.wins, found.ties, found.losses) == (9, 1, 0)
    assert found.win_share_interval == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_interval_agrees_with_scipy() -> None:
    expected = stats.ttest_1samp(NOISE, 0.0).confidence_interval()
    assert evidence(NOISE).ci95 == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_equivalence_is_the_larger_of_two_one_sided_t_tests() -> None:
    above = stats.ttest_1samp(NOISE, -0.02, alternative="greater").pvalue
    below = stats.ttest_1samp(NOISE, 0.02, alternative="less").pvalue
    assert evidence(NOISE, margin=0.02).equivalence_p == pytest.approx(max(above, below), rel=1e-9)


def test_equivalence_of_a_mean_beyond_the_margin_is_far_from_shown() -> None:
    expected = stats.ttest_1samp(HELPFUL, 0.01, alternative="less").pvalue
    assert evidence(HELPFUL, margin=0.01).equivalence_p == pytest.approx(expected, rel=1e-9)


# ---- one verdict each ----


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_below_five_pairs_are_too_few(n: int) -> None:
    assert evidence(HELPFUL[1 : n + 1]).verdict is Verdict.TOO_FEW


def test_five_pairs_that_agree_provisionally_help() -> None:
    found = evidence(HELPFUL[1:6])
    assert (found.verdict, found.p_value) == (Verdict.PROVISIONALLY_HELPS, 2 / 32)
    assert found.deciding_p == pytest.approx(stats.ttest_1samp(HELPFUL[1:6], 0.0).pvalue, rel=1e-9)


def test_five_pairs_that_agree_the_other_way_provisionally_hurt() -> None:
    assert evidence([-value for value in HELPFUL[1:6]]).verdict is Verdict.PROVISIONALLY_HURTS


def test_five_pairs_of_which_one_disagrees_are_undecided_whatever_t_says() -> None:
    differences = [0.100, 0.101, 0.099, 0.100, -0.0001]
    assert stats.ttest_1samp(differences, 0.0).pvalue < 0.05
    assert evidence(differences).verdict is Verdict.UNDECIDED


def test_five_pairs_that_agree_are_undecided_when_t_does_not_see_it() -> None:
    assert evidence([0.01, 0.01, 0.01, 0.01, 0.2]).verdict is Verdict.UNDECIDED


def test_five_pairs_never_show_that_there_is_no_difference() -> None:
    assert evidence([1e-5, -1e-5, 2e-5, -2e-5, 1e-6]).verdict is Verdict.UNDECIDED


def test_helps() -> None:
    assert evidence(HELPFUL).verdict is Verdict.HELPS


def test_hurts() -> None:
    assert evidence([-value for value in HELPFUL]).verdict is Verdict.HURTS


def test_six_pairs_that_agree_are_enough() -> None:
    assert evidence(HELPFUL[1:7]).verdict is Verdict.HELPS


def test_helps_by_less_than_the_margin() -> None:
    assert evidence(HELPFUL, margin=0.03).verdict is Verdict.HELPS_LITTLE


def test_hurts_by_less_than_the_margin() -> None:
    assert evidence([-value for value in HELPFUL], margin=0.03).verdict is Verdict.HURTS_LITTLE


def test_no_practical_difference() -> None:
    assert evidence(NOISE, margin=0.05).verdict is Verdict.NO_PRACTICAL_DIFFERENCE


def test_undecided() -> None:
    assert evidence(NOISE, margin=0.01).verdict is Verdict.UNDECIDED


def test_without_a_margin_nothing_shows_that_there_is_no_difference() -> None:
    found = evidence(NOISE, margin=None)
    assert (found.verdict, found.equivalence_p) == (Verdict.UNDECIDED, None)


def test_lower_is_better_turns_the_verdict_and_the_wins_round() -> None:
    found = judge(HELPFUL, higher_is_better=False, margin=None)
    assert (found.verdict, found.wins, found.ties, found.losses) == (Verdict.HURTS, 0, 1, 9)


@pytest.mark.parametrize(("margin", "clears"), [(0.01, True), (0.012, False), (None, False)])
def test_at_least_the_margin_when_the_interval_clears_it(margin: float | None, clears: bool) -> None:
    # the interval begins at 0.0111
    assert evidence(HELPFUL, margin).at_least_theta is clears
    assert evidence([-value for value in HELPFUL], margin).at_least_theta is clears


def test_alpha_is_the_level_of_the_verdict() -> None:
    assert evidence(HELPFUL[1:7], alpha=0.0158).verdict is Verdict.UNDECIDED


# ---- degenerate differences ----


def test_no_pair_has_no_numbers() -> None:
    found = evidence([])
    assert (found.n_pairs, found.mean_difference, found.p_value, found.win_share_interval) == (0, None, None, None)


def test_one_pair_has_a_mean_and_nothing_else() -> None:
    found = evidence([0.02])
    assert (found.mean_difference, found.sd, found.ci95, found.p_value, found.wins) == (0.02, None, None, 1.0, 1)


def test_all_zero_is_undecided_because_rare_large_differences_may_be_to_come() -> None:
    found = evidence([0.0] * 10)
    assert (found.verdict, found.p_value, found.sd, found.ci95) == (Verdict.UNDECIDED, 1.0, 0.0, None)
    assert (found.wins, found.ties) == (0, 10)


def test_all_zero_without_a_margin_is_undecided() -> None:
    assert evidence([0.0] * 10, margin=None).verdict is Verdict.UNDECIDED


def test_of_equal_differences_the_sign_flip_test_is_believed() -> None:
    found = evidence([0.02] * 7)
    assert (found.p_value, found.sd, found.ci95) == (2 / 2**7, 0.0, None)
    assert (found.verdict, found.at_least_theta) == (Verdict.HELPS, False)  # without a spread the size is open


def test_five_equal_differences_are_undecided() -> None:
    found = evidence([0.02] * 5)
    assert (found.verdict, found.deciding_p) == (Verdict.UNDECIDED, 2 / 32)


def test_how_much_equal_differences_help_is_open() -> None:
    found = evidence([0.002] * 8)
    assert (found.verdict, found.equivalence_p) == (Verdict.HELPS, None)


def test_what_pairs_can_find_is_less_among_several_techniques() -> None:
    values = [0.02, 0.03, 0.01, 0.02, 0.03, 0.01, 0.02, 0.02]
    alone = judge(values, higher_is_better=True, margin=0.01)
    both = judge_all({"a": values, "b": [0.0, 0.01] * 4}, higher_is_better=True, margin=0.01)["a"]
    assert both.detectable_effect == judge(values, higher_is_better=True, margin=0.01, alpha=0.025).detectable_effect
    assert alone.detectable_effect < both.detectable_effect
    assert alone.seeds_needed <= both.seeds_needed


def test_differences_that_are_equal_but_for_rounding_are_equal() -> None:
    differences = [0.9 - 0.8, 0.4 - 0.3, 0.3 - 0.2, 0.2 - 0.1, 0.1 - 0.0, 0.7 - 0.6]
    assert len(set(differences)) > 1
    assert evidence(differences).sd == 0.0


def test_a_difference_that_is_zero_but_for_rounding_is_a_tie() -> None:
    found = evidence([0.3 - 0.1 - 0.2, 0.05, 0.02, -0.01])
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)


@pytest.mark.parametrize("differences", [[0.1, math.nan], [math.inf], [[0.1]], 0.1])
def test_what_is_no_row_of_finite_differences_is_refused(differences: object) -> None:
    with pytest.raises(ValueError, match="a row of finite differences"):
        evidence(differences)


@pytest.mark.parametrize("margin", [0.0, -0.01, math.nan, math.inf])
def test_a_margin_must_be_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin above 0"):
        evidence(HELPFUL, margin=margin)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_alpha_must_be_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha between 0 and 1"):
        evidence(HELPFUL, alpha=alpha)


@pytest.mark.parametrize("resplit", [(0, 10), (10, 0)])
def test_new_splits_need_rows(resplit: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="training and 1 test row"):
        evidence(HELPFUL, resplit=resplit)


# ---- what this many pairs can find ----


def test_detectable_effect_is_in_the_unit_of_the_metric() -> None:
    found = evidence(NOISE)
    assert found.sd is not None
    assert found.detectable_effect == pytest.approx(1.00 * found.sd, rel=0.01)


def test_seeds_needed_are_those_for_the_margin() -> None:
    # sd = sqrt(0.0058 / 9) = 0.0254, margin 0.01: 0.394 sd, (1.96 + 0.84)² / 0.394² = 50.6 and two more for t
    assert evidence(NOISE).seeds_needed == 53


def test_seeds_needed_without_a_margin_are_those_for_what_was_seen() -> None:
    with_margin, without = evidence(HELPFUL, margin=0.02), evidence(HELPFUL, margin=None)
    assert without.seeds_needed == with_margin.seeds_needed


def test_below_five_pairs_nothing_is_said_of_more() -> None:
    found = evidence(HELPFUL[1:5])
    assert (found.detectable_effect, found.seeds_needed) == (None, None)


# ---- new splits ----


def test_new_splits_widen_the_interval_as_nadeau_and_bengio_say() -> None:
    fixed, new = evidence(HELPFUL), evidence(HELPFUL, resplit=(400, 100))
    assert fixed.sd is not None and new.ci95 is not None
    half = 2.262157162798205 * fixed.sd * math.sqrt(1 / 10 + 100 / 400)
    assert new.ci95 == pytest.approx((0.02 - half, 0.02 + half))


def test_scope() -> None:
    assert evidence(HELPFUL).scope == "on this split"
    assert evidence(HELPFUL, resplit=(400, 100)).scope == "on new data of this kind"


def test_p_on_new_data_is_the_larger_of_sign_flip_and_nadeau_bengio_t() -> None:
    found = evidence(HELPFUL, resplit=(400, 100))
    assert found.sd is not None
    t = 0.02 / (found.sd * math.sqrt(1 / 10 + 1 / 4))
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, 9), rel=1e-9)
    assert evidence(HELPFUL, resplit=(10_000, 1)).p_value == 4 / 2**10


def test_a_claim_on_this_split_may_be_none_on_new_data() -> None:
    assert evidence(HELPFUL, resplit=(300, 300)).verdict is Verdict.UNDECIDED


# ---- several techniques ----


def test_verdicts_follow_the_corrected_p() -> None:
    rng = np.random.default_rng(0)
    # 2/64 alone is below 0.05; the smallest of six has to be below 0.05 / 6
    differences = {"good": HELPFUL[1:7], **{f"null{k}": rng.normal(0, 0.02, 6).tolist() for k in range(5)}}
    found = judge_all(differences, higher_is_better=True, margin=None)
    expected = stats.false_discovery_control([evidence(row).deciding_p for row in differences.values()])
    assert [row.p_adjusted for row in found.values()] == pytest.approx(expected)
    assert evidence(HELPFUL[1:7]).verdict is Verdict.HELPS
    assert found["good"].verdict is Verdict.UNDECIDED
    assert (found["good"].p_value, found["good"].p_holm) == (2 / 64, pytest.approx(6 * 2 / 64))


def test_one_technique_is_judged_as_alone() -> None:
    (found,) = judge_all({"only": HELPFUL}, higher_is_better=True, margin=0.01).values()
    alone = evidence(HELPFUL)
    assert (found.verdict, found.at_least_theta, found.p_adjusted) == (alone.verdict, True, alone.p_value)


def test_techniques_with_too_few_seeds_are_no_tests() -> None:
    found = judge_all({"some": HELPFUL, "few": HELPFUL[:3], "none": []}, higher_is_better=True, margin=None)
    assert found["some"].p_adjusted == found["some"].p_value
    assert (found["few"].p_adjusted, found["none"].p_adjusted) == (None, None)


def test_provisional_verdicts_are_corrected_too() -> None:
    t = evidence(HELPFUL[1:6]).deciding_p
    assert t is not None and 0.05 / 6 < t < 0.05
    differences = {"good": HELPFUL[1:6], **{f"null{k}": NOISE[k : k + 5] for k in range(5)}}
    found = judge_all(differences, higher_is_better=True, margin=None)["good"]
    assert (found.verdict, found.p_adjusted) == (Verdict.UNDECIDED, pytest.approx(6 * t))


def test_no_technique_is_no_evidence() -> None:
    assert judge_all({}, higher_is_better=True, margin=None) == {}


# ---- one by one and many at once ----


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(st.integers(-6, 9), min_size=n, max_size=n), min_size=1, max_size=5)
    ),
    st.sampled_from([None, 0.01, 0.04]),
    st.sampled_from([None, (400, 100)]),
    st.booleans(),
)
def test_many_experiments_at_once_get_the_verdict_of_each_alone(
    rows: list[list[int]], margin: float | None, resplit: tuple[int, int] | None, higher: bool
) -> None:
    values = np.array(rows) / 100
    measured = measure(values, margin=margin, resplit=resplit)
    together = verdicts(
        measured.n_pairs, measured.mean, measured.deciding_p, measured.equivalence_p, higher_is_better=higher
    )
    alone = [judge(row, higher_is_better=higher, margin=margin, resplit=resplit) for row in values]
    assert together.tolist() == [row.verdict for row in alone]
    assert measured.p_value.tolist() == [row.p_value for row in alone]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=10), st.sampled_from([None, 0.1]))
def test_exchanging_the_arms_turns_the_verdict_round(differences: list[float], margin: float | None) -> None:
    turned = {
        Verdict.HELPS: Verdict.HURTS,
        Verdict.HELPS_LITTLE: Verdict.HURTS_LITTLE,
        Verdict.PROVISIONALLY_HELPS: Verdict.PROVISIONALLY_HURTS,
    }
    turned |= {hurts: helps for helps, hurts in turned.items()}
    there, back = evidence(differences, margin), evidence([-value for value in differences], margin)
    assert back.verdict is turned.get(there.verdict, there.verdict)
    assert (back.wins, back.losses) == (there.losses, there.wins)
