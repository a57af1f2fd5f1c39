from typing import Any

import pytest

from betterdl_cli.report.verdicts import (
    failure_words,
    main_effect_lines,
    pairs_words,
    secondary_words,
    unpaired_words,
    verdict_lines,
)

DIFFERENCE: dict[str, Any] = {
    "n_pairs": 2,
    "ties": 0,
    "values": {"0": 0.01, "1": -0.008},
    "paired": {"in_words": "same split, same data order"},
}
EVIDENCE: dict[str, Any] = {
    "sentence": "The verdict.",
    "failures": None,
    "unpaired": {"baseline": [], "candidate": []},
    "secondary": {},
}
TARGET: dict[str, Any] = {
    "metric": "val_accuracy", "target": 0.95, "n_pairs": 10, "control_reached": 9, "treatment_reached": 10,
    "faster": 8, "slower": 0, "median_difference": -3.0, "p_value": 0.0078125,
}  # fmt: skip


def test_the_verdict_comes_first_and_what_is_secondary_last() -> None:
    evidence = {
        **EVIDENCE,
        "failures": {"n_pairs": 4, "both": 0, "only_control": 0, "only_treatment": 1, "p_value": 1.0},
        "unpaired": {"baseline": [3], "candidate": []},
        "secondary": {"test_loss": {"mean_difference": -0.02, "ci95": [-0.03, -0.01], "p_value": 0.004}},
    }
    assert verdict_lines("dropout", "control", DIFFERENCE, evidence) == [
        "The verdict.",
        "    Pairs: +0.010 (seed 0), −0.008 (seed 1). Paired: same split, same data order.",
        "    Of 4 pairs, control failed or diverged in 0 and dropout in 1 (McNemar's test: p = 1). The verdict is on "
        "the pairs in which neither did.",
        "    Without a partner and not counted: seed 3 of control (dropout has no score).",
        "    Secondary, uncorrected: test loss −0.020 (p = 0.004).",
    ]


def test_without_pairs_the_verdict_stands_alone() -> None:
    assert verdict_lines("dropout", "control", {**DIFFERENCE, "n_pairs": 0}, EVIDENCE) == ["The verdict."]


# ---- pairs ----


def test_more_than_ten_pairs_are_cut_short() -> None:
    values = {str(seed): 0.1 for seed in range(12)}
    words = pairs_words({"n_pairs": 12, "ties": 0, "values": values})
    assert words.startswith("Pairs: +0.100 (seed 0), ")
    assert words.endswith("+0.100 (seed 9) and 2 more.")


def test_equal_pairs_are_not_listed() -> None:
    assert pairs_words({"n_pairs": 3, "ties": 3, "values": {"0": 0.0, "1": 0.0, "2": 0.0}}) == "All 3 pairs are equal."
    assert pairs_words({"n_pairs": 1, "ties": 1, "values": {"0": 0.0}}) == "Pairs: 0.000 (seed 0)."


# ---- lost runs and seeds without a partner ----


def test_failures_count_those_of_both_arms_on_either_side() -> None:
    failed = {"n_pairs": 10, "both": 2, "only_control": 1, "only_treatment": 7, "p_value": 0.0703125}
    assert failure_words("dropout", "control", failed) == (
        "Of 10 pairs, control failed or diverged in 3 and dropout in 9 (McNemar's test: p = 0.07)."
    )


@pytest.mark.parametrize(
    ("baseline", "candidate", "words"),
    [
        ([], [], ""),
        ([8, 9], [], "Without a partner and not counted: seeds 8, 9 of control (dropout has no score)."),
        ([], [5, 6, 7], "Without a partner and not counted: seeds 5 to 7 of dropout (control has no score)."),
    ],
)
def test_seeds_without_a_partner(baseline: list[int], candidate: list[int], words: str) -> None:
    assert unpaired_words("dropout", "control", {"baseline": baseline, "candidate": candidate}) == words


# ---- main effects ----


def test_main_effects_with_the_seeds_that_they_leave_out() -> None:
    said = "It is undecided whether l2, averaged over all combinations of the others, helps or hurts test accuracy."
    assert main_effect_lines({"l2": {"sentence": said, "left_out": [8, 9]}}) == [
        "Main effect: it is undecided whether l2, averaged over all combinations of the others, helps or hurts test "
        "accuracy.",
        "    Main effects leave out seeds 8, 9, of which not every arm has a score.",
    ]
    assert main_effect_lines({"l2": {"sentence": "l2 helps.", "left_out": []}}) == ["Main effect: l2 helps."]
    assert main_effect_lines({}) == []


# ---- secondary ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "reached 3 epochs sooner in the median (dropout in 10, control in 9 of 10 runs, p = 0.0078)"),
        ({"median_difference": 1.0}, "reached 1 epoch later in the median (dropout in 10,"),
        ({"median_difference": 0.5}, "reached 0.5 epochs later in the median (dropout in 10,"),
        ({"median_difference": 0.0, "p_value": 1.0}, "reached as soon in the median (dropout in 10,"),
        ({"treatment_reached": 0, "median_difference": 5.0}, "reached never (dropout in 0, control in 9 of 10 runs,"),
        ({"p_value": 0.00001}, "control in 9 of 10 runs, p < 0.001)"),
    ],
)
def test_epochs_to_the_target(changes: dict[str, Any], words: str) -> None:
    said = secondary_words("dropout", "control", {"epochs_to_target": {**TARGET, **changes}})
    assert said.startswith("validation accuracy 0.950 (95 % of what control gains) reached ")
    assert words in said


def test_seconds_of_both_sides() -> None:
    words = secondary_words("dropout", "control", {"seconds": {"baseline": 2.0, "candidate": 0.25}})
    assert words == "0.250 s a run against 2.0 s"


def test_the_spread_of_the_seeds() -> None:
    spread = {"n_pairs": 10, "ratio": 0.62, "p_value": 0.2}
    assert secondary_words("a", "b", {"seed_spread": spread}) == "seeds lie 0.62 times as far apart (p = 0.2)"
    assert secondary_words("a", "b", {"seed_spread": {**spread, "ratio": None}}) == ""


def test_a_metric_without_a_pair_is_left_out() -> None:
    assert secondary_words("a", "b", {"test_loss": {"mean_difference": None, "ci95": None, "p_value": None}}) == ""


def test_several_are_told_in_one_line() -> None:
    beside = {
        "test_loss": {"mean_difference": 0.1, "ci95": None, "p_value": None},
        "seconds": {"baseline": 1.0, "candidate": 2.0},
    }
    assert secondary_words("a", "b", beside) == "test loss +0.100; 2.0 s a run against 1.0 s"
