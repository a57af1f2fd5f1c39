"""Every verdict read aloud."""

from dataclasses import replace

from betterdl_cli.analysis.sentence import sentence
from betterdl_cli.analysis.verdict import Evidence, Verdict, judge, judge_all

BETTER = [0.02, 0.01, 0.03, 0.02, 0.04, 0.02, 0.01, 0.01, 0.03, 0.03]
WORSE = [-value for value in BETTER]
SPLIT = [0.03, -0.02, 0.01, -0.04, 0.02, -0.01, 0.03, -0.03, 0.02, -0.01]


def said(
    differences: list[float],
    margin: float | None = 0.01,
    *,
    higher: bool = True,
    resplit: tuple[int, int] | None = None,
) -> tuple[Verdict, str]:
    found = judge(differences, higher_is_better=higher, margin=margin, resplit=resplit)
    return found.verdict, read(found)


def read(evidence: Evidence) -> str:
    return sentence(evidence, "dropout", "control", "test_accuracy" if evidence.higher_is_better else "test_loss")


def test_no_pair() -> None:
    assert said([]) == (
        Verdict.TOO_FEW,
        "dropout has no pair with control: nothing can be said about test accuracy.",
    )


def test_one_pair() -> None:
    assert said([0.02]) == (
        Verdict.TOO_FEW,
        "Too few seeds to say whether dropout helps test accuracy on this split: +0.020 against control (better in "
        "the only pair); a verdict needs at least 6 pairs.",
    )


def test_too_few_seeds() -> None:
    assert said([0.02, -0.01, 0.02]) == (
        Verdict.TOO_FEW,
        "Too few seeds to say whether dropout helps test accuracy on this split: +0.01 against control (better in 2 "
        "of 3 pairs); a verdict needs at least 6 pairs.",
    )


def test_provisionally_helps() -> None:
    assert said(BETTER[:5]) == (
        Verdict.PROVISIONALLY_HELPS,
        "dropout provisionally helps test accuracy on this split: +0.024 against control (95 % interval +0.010 to "
        "+0.038, t test p = 0.0093, better in 5 of 5 pairs). That is no proof yet: 5 pairs cannot give one, 6 or more "
        "can.",
    )


def test_provisionally_hurts() -> None:
    assert said(WORSE[:5]) == (
        Verdict.PROVISIONALLY_HURTS,
        "dropout provisionally hurts test accuracy on this split: −0.024 against control (95 % interval −0.038 to "
        "−0.010, t test p = 0.0093, better in 0 of 5 pairs). That is no proof yet: 5 pairs cannot give one, 6 or more "
        "can.",
    )


def test_helps_by_at_least_the_margin() -> None:
    assert said(BETTER) == (
        Verdict.HELPS,
        "dropout helps test accuracy on this split: +0.022 against control (95 % interval +0.015 to +0.029, p = 0.002, "
        "better in 10 of 10 pairs); at least the 0.01 that matters.",
    )


def test_helps_and_nobody_knows_whether_by_the_margin() -> None:
    assert said(BETTER, 0.018) == (
        Verdict.HELPS,
        "dropout helps test accuracy on this split: +0.022 against control (95 % interval +0.015 to +0.029, p = 0.002, "
        "better in 10 of 10 pairs); whether by the 0.018 that matters is open.",
    )


def test_helps_without_a_margin() -> None:
    assert said(BETTER, None) == (
        Verdict.HELPS,
        "dropout helps test accuracy on this split: +0.022 against control (95 % interval +0.015 to +0.029, p = 0.002, "
        "better in 10 of 10 pairs).",
    )


def test_hurts() -> None:
    assert said(WORSE) == (
        Verdict.HURTS,
        "dropout hurts test accuracy on this split: −0.022 against control (95 % interval −0.029 to −0.015, p = 0.002, "
        "better in 0 of 10 pairs); at least the 0.01 that matters.",
    )


def test_hurts_a_metric_of_which_less_is_better() -> None:
    assert said(BETTER, None, higher=False) == (
        Verdict.HURTS,
        "dropout hurts test loss on this split: +0.022 against control (lower is better, 95 % interval +0.015 to "
        "+0.029, p = 0.002, better in 0 of 10 pairs).",
    )


def test_helps_by_less_than_the_margin() -> None:
    assert said(BETTER, 0.03) == (
        Verdict.HELPS_LITTLE,
        "dropout helps test accuracy on this split: +0.022 against control (95 % interval +0.015 to +0.029, p = 0.002, "
        "better in 10 of 10 pairs); less than the 0.03 that would matter.",
    )


def test_hurts_by_less_than_the_margin() -> None:
    assert said(WORSE, 0.03) == (
        Verdict.HURTS_LITTLE,
        "dropout hurts test accuracy on this split: −0.022 against control (95 % interval −0.029 to −0.015, p = 0.002, "
        "better in 0 of 10 pairs); less than the 0.03 that would matter.",
    )


def test_no_practical_difference() -> None:
    assert said(SPLIT, 0.05) == (
        Verdict.NO_PRACTICAL_DIFFERENCE,
        "dropout makes no practical difference to test accuracy on this split: 0.000 against control (95 % interval "
        "−0.018 to +0.018, p = 1, better in 5 of 10 pairs); less than the 0.05 that would matter.",
    )


def test_all_pairs_equal() -> None:
    assert said([0.0] * 10) == (
        Verdict.UNDECIDED,
        "It is undecided whether dropout helps or hurts test accuracy on this split: 0 against control (p = 1, equal "
        "in all 10 pairs).",
    )


def test_undecided() -> None:
    assert said(SPLIT) == (
        Verdict.UNDECIDED,
        "It is undecided whether dropout helps or hurts test accuracy on this split: 0.000 against control (95 % "
        "interval −0.018 to +0.018, p = 1, better in 5 of 10 pairs). 10 pairs find a difference of 0.025 in 4 of 5 "
        "cases; one of 0.01, which matters, needs about 53 seeds.",
    )


def test_undecided_without_a_margin() -> None:
    assert said([*SPLIT[:8], 0.03, 0.03], None) == (
        Verdict.UNDECIDED,
        "It is undecided whether dropout helps or hurts test accuracy on this split: +0.005 against control (95 % "
        "interval −0.015 to +0.025, p = 0.65, better in 6 of 10 pairs). 10 pairs find a difference of 0.028 in 4 of 5 "
        "cases; one as large as that seen here needs about 241 seeds.",
    )


def test_undecided_without_a_margin_or_a_difference() -> None:
    assert said(SPLIT, None)[1].endswith("10 pairs find a difference of 0.025 in 4 of 5 cases.")


def test_undecided_although_the_pairs_could_have_found_what_matters() -> None:
    verdict, text = said([0.007 + value / 2 for value in SPLIT], 0.013)
    assert verdict is Verdict.UNDECIDED
    assert text.endswith("10 pairs find a difference of 0.013 in 4 of 5 cases.")


def test_undecided_with_five_equal_pairs() -> None:
    assert said([0.02] * 5) == (
        Verdict.UNDECIDED,
        "It is undecided whether dropout helps or hurts test accuracy on this split: +0.020 against control (p = "
        "0.062, better in 5 of 5 pairs). 5 pairs cannot prove anything, 6 or more can.",
    )


def test_undecided_on_new_data() -> None:
    assert said(BETTER, resplit=(300, 300)) == (
        Verdict.UNDECIDED,
        "It is undecided whether dropout helps or hurts test accuracy on new data of this kind: +0.022 against control "
        "(95 % interval −0.003 to +0.047, p = 0.073, better in 10 of 10 pairs). 10 pairs find a difference of 0.034 in "
        "4 of 5 cases; one of 0.01, which matters, needs more data: more seeds alone will not find it.",
    )


def test_ties_are_said() -> None:
    assert "better in 2 of 6 pairs and equal in 3)" in said([0.0, 0.0, 0.0, 0.01, 0.02, -0.01])[1]


def test_corrected_p_stands_beside_the_exact_one() -> None:
    found = judge_all({"dropout": BETTER, "l2": SPLIT, "noise": SPLIT}, higher_is_better=True, margin=None)
    assert "p = 0.002, 0.0059 corrected for the number of techniques, better" in read(found["dropout"])


def test_p_is_not_rounded_across_alpha() -> None:
    found = judge(BETTER, higher_is_better=True, margin=None)
    assert "p = 0.0502," in read(replace(found, p_value=0.0502, verdict=Verdict.UNDECIDED))


def test_small_p_is_not_given_in_full() -> None:
    assert "p < 0.001," in said([*BETTER, *BETTER])[1]
