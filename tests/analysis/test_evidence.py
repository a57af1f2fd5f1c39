"""Evidence from stored runs, against numbers worked out by hand."""

import json
import pathlib
from typing import Any

import pytest
from stored import Stored, config_with

from betterdl_cli.analysis.evidence import Compared
from betterdl_cli.analysis.summary import experiment_arms, summarise
from betterdl_cli.report.verdicts import verdict_lines

SEEDS = 8
LOWEST = 2 / 2**SEEDS  # the p of 8 differences with the same sign
VARIED = [0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]


def stored_with(root: pathlib.Path, **changes: Any) -> Stored:
    return Stored(root, config_with(**{"seeds": SEEDS, **changes}))


def summary(stored: Stored) -> dict[str, Any]:
    found = summarise(stored.directory, stored.directory.plan())
    json.dumps(found, allow_nan=False)
    return found


def evidence(stored: Stored, arm: str = "dropout") -> dict[str, Any]:
    found: dict[str, Any] = next(row["evidence"] for row in summary(stored)["arms"] if row["arm"] == arm)
    return found


def lines(stored: Stored, arm: str = "dropout") -> list[str]:
    row = next(row for row in summary(stored)["arms"] if row["arm"] == arm)
    return verdict_lines(arm, row["reference"], row["difference"], row["evidence"])


def above(base: float, differences: list[float]) -> list[float]:
    return [base + difference for difference in differences]


# ---- the verdict and its correction ----


def test_the_control_has_no_evidence(tmp_path: pathlib.Path) -> None:
    assert evidence(stored_with(tmp_path), "control") is None


def test_p_is_corrected_for_the_number_of_techniques(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, **{"techniques.batch_norm": {}})
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))
    stored.add("batch_norm", above(0.5, [0.01] * 7 + [-0.01]))  # as far from 0: itself, 8 with two signs off, mirrored
    dropout, batch_norm = evidence(stored), evidence(stored, "batch_norm")
    assert (dropout["p_value"], dropout["p_adjusted"], dropout["p_holm"]) == (LOWEST, 2 * LOWEST, 2 * LOWEST)
    assert (batch_norm["p_value"], batch_norm["p_adjusted"], batch_norm["p_holm"]) == (18 / 256, 18 / 256, 18 / 256)
    assert (dropout["verdict"], batch_norm["verdict"]) == ("helps", "undecided")


def test_a_second_technique_can_cost_the_first_its_verdict(tmp_path: pathlib.Path) -> None:
    alone = stored_with(tmp_path / "alone", seeds=6)
    beside = stored_with(tmp_path / "beside", seeds=6, **{"techniques.batch_norm": {}})
    for stored in (alone, beside):
        stored.add("control", [0.5] * 6)
        stored.add("dropout", above(0.5, VARIED[:6]))
    beside.add("batch_norm", [0.5] * 6)
    assert (evidence(alone)["p_adjusted"], evidence(alone)["verdict"]) == (2 / 2**6, "helps")
    assert (evidence(beside)["p_adjusted"], evidence(beside)["verdict"]) == (4 / 2**6, "undecided")


def test_an_a_a_arm_does_not_count_and_is_judged_alone(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, aa=True)
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))
    stored.add("control-aa", above(0.5, [0.01] * 7 + [-0.01]))
    assert (evidence(stored)["p_adjusted"], evidence(stored, "control-aa")["p_adjusted"]) == (LOWEST, 18 / 256)
    assert (evidence(stored)["aa"], evidence(stored, "control-aa")["aa"]) == (False, True)


def test_the_a_a_arm_is_told_as_the_noise_floor(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, aa=True)
    stored.add("control", [0.5] * 8)
    stored.add("control-aa", [0.5] * 8)
    assert evidence(stored, "control-aa")["sentence"] == (
        "Noise floor (control-aa): it is undecided whether control with other seeds helps or hurts test accuracy on "
        "this split: 0 against control (p = 1, equal in all 8 pairs)."
    )
    stored.add("control-aa", above(0.5, VARIED))
    assert evidence(stored, "control-aa")["sentence"].startswith(
        "Noise floor (control-aa): control with other seeds helps test accuracy on this split: +0.055 against control"
    )
    assert evidence(stored, "control-aa")["sentence"].endswith("Both are the same recipe, so that is chance.")


def test_a_second_control_of_another_recipe_is_no_a_a_arm(tmp_path: pathlib.Path) -> None:
    one = Stored(tmp_path, config_with(aa=True))
    other = Stored(tmp_path, config_with(name="other", aa=True, **{"training.epochs": 9}))
    before, after = (experiment_arms(stored.directory, stored.plan) for stored in (one, other))
    assert Compared("b", "a", before["control"], before["control-aa"]).is_aa
    assert Compared("b", "a", before["control-aa"], before["control"]).is_aa
    assert not Compared("b", "a", before["control"], after["control-aa"]).is_aa
    assert not Compared("b", "a", before["control-aa"], before["control-aa"]).is_aa
    assert not Compared("b", "a", before["control"], before["dropout"]).is_aa


def test_too_few_seeds_for_a_noise_floor(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, aa=True)
    stored.add("control", [0.5] * 2)
    stored.add("control-aa", [0.5] * 2)
    assert evidence(stored, "control-aa")["sentence"].startswith(
        "Noise floor (control-aa): too few seeds to say whether control with other seeds helps"
    )


@pytest.mark.parametrize(("alpha", "verdict"), [(0.05, "undecided"), (0.1, "helps")])
def test_alpha_is_that_of_the_config(tmp_path: pathlib.Path, alpha: float, verdict: str) -> None:
    stored = stored_with(tmp_path, alpha=alpha)
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, [0.05] * 7 + [-0.05]))
    assert (evidence(stored)["alpha"], evidence(stored)["verdict"]) == (alpha, verdict)


def test_the_margin_is_that_of_the_config(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, equivalence_margin=0.2)
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))
    found = evidence(stored)
    assert (found["equivalence_margin"], found["verdict"]) == (0.2, "helps, by less than theta")


def test_five_pairs_of_one_sign_help_provisionally(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=5))
    stored.add("control", [0.5] * 5)
    stored.add("dropout", above(0.5, VARIED[:5]))
    found = evidence(stored)
    assert (found["verdict"], found["p_value"]) == ("provisionally helps", 0.0625)
    assert found["sentence"].endswith("That is no proof yet: 5 pairs cannot give one, 6 or more can.")


def test_constant_differences_are_judged_without_an_interval(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path)
    stored.add("control", [0.5, 0.6, 0.7, 0.8] * 2)
    stored.add("dropout", [0.55, 0.65, 0.75, 0.85] * 2)
    row = summary(stored)["arms"][1]
    assert (row["difference"]["ci95"], row["evidence"]["p_value"]) == (None, LOWEST)
    assert (row["evidence"]["verdict"], row["evidence"]["at_least_margin"]) == ("helps", False)


def test_a_lower_loss_helps(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, metric="test_loss")
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))  # the loss is 1 − accuracy
    row = summary(stored)["arms"][1]
    assert (row["evidence"]["verdict"], row["difference"]["wins"]) == ("helps", 8)
    assert row["difference"]["mean"] == pytest.approx(-0.055)
    assert row["evidence"]["equivalence_margin"] is None  # a loss has no usual margin
    assert "lower is better" in row["evidence"]["sentence"]


def test_scores_of_exactly_one_are_ties(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path)
    stored.add("control", [1.0] * 8)
    stored.add("dropout", [1.0] * 8)
    row = summary(stored)["arms"][1]
    assert (row["difference"]["wins"], row["difference"]["ties"], row["difference"]["ci95"]) == (0, 8, None)
    assert (row["evidence"]["p_value"], row["evidence"]["verdict"]) == (1.0, "undecided")


def test_a_treatment_below_a_perfect_control_hurts(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path)
    stored.add("control", [1.0] * 8)
    stored.add("dropout", above(1.0, [-value for value in VARIED]))
    assert evidence(stored)["verdict"] == "hurts"


# ---- the scope ----

THIRDS = [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]


def test_one_split_speaks_of_this_split(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=6))
    stored.add("control", [0.5] * 6)
    stored.add("dropout", above(0.5, THIRDS))
    assert evidence(stored)["scope"] == "on this split"


def test_a_split_per_seed_speaks_of_new_data_with_a_wider_interval(tmp_path: pathlib.Path) -> None:
    """Nadeau and Bengio: t 2.5706 · sd 0.054772 · √(1/6 + 20/60 rows) = 0.09956 on either side of 0.15."""
    stored = Stored(tmp_path, config_with(seeds=6, **{"data.split.resplit": True}))
    stored.add("control", [0.5] * 6)
    stored.add("dropout", above(0.5, THIRDS))
    row = summary(stored)["arms"][1]
    assert row["evidence"]["scope"] == "on new data of this kind"
    assert row["difference"]["ci95"] == pytest.approx([0.15 - 0.09956, 0.15 + 0.09956], abs=1e-5)
    assert row["evidence"]["secondary"]["test_loss"]["ci95"] == pytest.approx([-0.24956, -0.05044], abs=1e-5)


def test_the_scope_is_known_though_the_treatment_never_finished(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=6, **{"data.split.resplit": True}))
    stored.add("control", [0.5] * 6)
    stored.add_failure("dropout", 0)
    assert evidence(stored)["scope"] == "on new data of this kind"


# ---- which seeds count ----


def test_only_common_seeds_count_and_that_is_said(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=9))
    for seed in (0, 1, 2, 3, 7, 8):
        stored.add_run("control", seed, 0.5)
    for seed in (0, 1, 2, 3, 4, 5):
        stored.add_run("dropout", seed, 0.6)
    row = summary(stored)["arms"][1]
    assert list(row["difference"]["values"]) == ["0", "1", "2", "3"]
    assert row["evidence"]["unpaired"] == {"baseline": [7, 8], "candidate": [4, 5]}
    assert (
        "    Without a partner and not counted: seeds 7, 8 of control (dropout has no score); "
        "seeds 4, 5 of dropout (control has no score)." in lines(stored)
    )


def test_equal_sets_of_seeds_are_not_spoken_of(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 3)
    stored.add("dropout", [0.5] * 3)
    assert not [line for line in lines(stored) if "partner" in line]


def test_a_run_whose_score_was_no_number_makes_no_pair(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 3)
    stored.add("dropout", [0.6, None, None])  # null in run.json: it was not finite
    row = summary(stored)["arms"][1]
    assert list(row["difference"]["values"]) == ["0"]
    assert row["evidence"]["unpaired"] == {"baseline": [1, 2], "candidate": []}


# ---- failures ----


def test_failed_and_diverged_runs_are_counted_apart_with_mcnemar(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path)
    stored.add("control", [0.5] * 7)
    stored.add_run("control", 7, None, diverged=2)
    stored.add("dropout", [0.6] * 5)
    stored.add_run("dropout", 5, None, diverged=2)
    stored.add_failure("dropout", 6)
    stored.add_failure("dropout", 7)
    found = evidence(stored)
    # on two seeds only the treatment was lost: two-sided 2 · (1/2)²
    assert found["failures"] == {
        "n_pairs": 8, "both": 1, "only_control": 0, "only_treatment": 2, "p_value": 0.5
    }  # fmt: skip
    assert found["unpaired"] == {"baseline": [], "candidate": []}
    assert found["unseen_failure_rate"] is None
    assert (
        "    Of 8 pairs, control failed or diverged in 1 and dropout in 3 (McNemar's test: p = 0.5). The verdict is on "
        "the pairs in which neither did." in lines(stored)
    )


def test_an_arm_whose_runs_all_failed_has_no_verdict(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 3)
    for seed in range(3):
        stored.add_failure("dropout", seed)
    found = evidence(stored)
    assert (found["verdict"], found["p_value"], found["failures"]["only_treatment"]) == ("too few seeds", None, 3)
    assert lines(stored) == [
        "dropout has no pair with control: nothing can be said about test accuracy.",
        "    Of 3 pairs, control failed or diverged in 0 and dropout in 3 (McNemar's test: p = 0.25).",
    ]


def test_a_failed_arm_does_not_count_in_the_correction(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path, **{"techniques.batch_norm": {}})
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))
    for seed in range(8):
        stored.add_failure("batch_norm", seed)
    assert evidence(stored)["p_adjusted"] == LOWEST


def test_without_a_failure_the_rate_that_may_be_unseen_is_told(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 3)
    stored.add("dropout", [0.5] * 3)
    assert evidence(stored)["failures"] is None
    assert evidence(stored)["unseen_failure_rate"] == pytest.approx(1 - 0.05 ** (1 / 3))


def test_failures_of_the_control_alone_leave_the_treatments_rate_unseen(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add_failure("control", 0)
    stored.add("dropout", [0.5] * 3)
    assert evidence(stored)["unseen_failure_rate"] == pytest.approx(1 - 0.05 ** (1 / 3))


def test_a_failure_on_a_seed_without_a_partner_is_no_unseen_one(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 2)
    stored.add("dropout", [0.5] * 2)
    stored.add_failure("dropout", 2)
    assert (evidence(stored)["failures"], evidence(stored)["unseen_failure_rate"]) == (None, None)


# ---- secondary ----


def test_the_loss_stands_beside_the_accuracy(tmp_path: pathlib.Path) -> None:
    stored = stored_with(tmp_path)
    stored.add("control", [0.5] * 8)
    stored.add("dropout", above(0.5, VARIED))
    beside = evidence(stored)["secondary"]["test_loss"]
    assert beside["mean_difference"] == pytest.approx(-0.055)
    assert beside["p_value"] == LOWEST  # not corrected


def test_seconds_are_means_over_finished_runs(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.5] * 2)
    stored.add_run("dropout", 0, seconds=3.0)
    stored.add_run("dropout", 1, seconds=5.0)
    stored.add_failure("dropout", 2)
    assert evidence(stored)["secondary"]["seconds"] == {"baseline": 2.0, "candidate": 4.0}


def test_the_spread_of_the_seeds_is_told_from_ten_pairs_on(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=10))
    stored.add("control", [0.4, 0.6] * 5)  # 0.1 from the median
    stored.add("dropout", [0.3, 0.7] * 4)
    assert "seed_spread" not in evidence(stored)["secondary"]
    stored.add("dropout", [0.3, 0.7] * 5)  # 0.2 from it, in every pair
    found = evidence(stored)["secondary"]["seed_spread"]
    assert found["ratio"] == pytest.approx(2.0)
    assert found["p_value"] == 2 / 2**10


def test_epochs_to_the_target_by_hand(tmp_path: pathlib.Path) -> None:
    """Validation accuracy of the control: 0.25, 0.375, …, 0.75, so the target is 0.25 + 0.95 · 0.5, in epoch 5."""
    stored = Stored(tmp_path, config_with(seeds=6))
    stored.add("control", [0.8] * 6, epochs=5)
    stored.add("dropout", [1.0] * 6, epochs=5)  # 0.25, 0.425, 0.6, 0.775: epoch 4
    found = evidence(stored)["secondary"]["epochs_to_target"]
    assert found.pop("target") == pytest.approx(0.725)
    assert found == {
        "metric": "val_accuracy", "n_pairs": 6, "control_reached": 6, "treatment_reached": 6, "faster": 6, "slower": 0,
        "median_difference": -1.0, "p_value": 2 / 2**6,
    }  # fmt: skip
    assert (
        "validation accuracy 0.725 (95 % of what control gains) reached 1 epoch sooner in the median (dropout in 6, "
        "control in 6 of 6 runs, p = 0.031)" in lines(stored)[-1]
    )


def test_a_target_that_is_never_reached_counts_as_one_epoch_more(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=6))
    stored.add("control", [0.8] * 6, epochs=5)
    stored.add("dropout", [0.5] * 6, epochs=5)
    found = evidence(stored)["secondary"]["epochs_to_target"]
    assert (found["control_reached"], found["treatment_reached"], found["slower"]) == (6, 0, 6)
    assert found["median_difference"] == 1.0
    assert "reached never (dropout in 0, control in 6 of 6 runs, p = 0.031)" in lines(stored)[-1]


def test_a_control_that_learns_nothing_sets_no_target(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.3] * 3)  # as it began
    stored.add("dropout", [0.8] * 3)
    assert "epochs_to_target" not in evidence(stored)["secondary"]


def test_a_loss_with_a_penalty_sets_no_target(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(metric="test_loss"))
    stored.add("control", [0.8] * 3)
    stored.add("dropout", [0.8] * 3)
    assert evidence(stored)["secondary"]["epochs_to_target"]["metric"] == "val_loss"
    stored.add_run("dropout", 2, 0.8, penalised=True)
    assert "epochs_to_target" not in evidence(stored)["secondary"]


# ---- designs ----


def factorial(root: pathlib.Path) -> Stored:
    stored = Stored(root, config_with(seeds=6, design="factorial", aa=True, **{"techniques.batch_norm": {}}))
    stored.add("control", [0.5] * 6)
    stored.add("dropout", [0.6] * 6)
    stored.add("batch_norm", [0.5] * 6)
    stored.add("control-aa", [0.9] * 6)  # no part of the design
    return stored


def test_main_effects_of_a_two_by_two_factorial_by_hand(tmp_path: pathlib.Path) -> None:
    stored = factorial(tmp_path)
    stored.add("dropout-and-batch_norm", [0.7] * 6)
    found = summary(stored)["main_effects"]
    assert list(found) == ["dropout", "batch_norm"]
    assert found["dropout"]["mean_difference"] == pytest.approx((0.6 + 0.7) / 2 - (0.5 + 0.5) / 2)
    assert found["batch_norm"]["mean_difference"] == pytest.approx((0.5 + 0.7) / 2 - (0.5 + 0.6) / 2)
    assert (found["dropout"]["p_value"], found["dropout"]["p_adjusted"]) == (2 / 2**6, 2 / 2**6)
    assert found["dropout"]["sentence"] == (
        "dropout, averaged over all combinations of the others, helps test accuracy on this split: +0.15 against the "
        "arms without it (p = 0.031, better in 6 of 6 pairs); whether by the 0.01 that matters is open."
    )


def test_main_effects_are_over_the_seeds_that_every_arm_has(tmp_path: pathlib.Path) -> None:
    stored = factorial(tmp_path)
    stored.add("dropout-and-batch_norm", [0.7] * 4)
    found = summary(stored)["main_effects"]["batch_norm"]
    assert (found["n_pairs"], found["left_out"]) == (4, [4, 5])


def test_main_effects_need_a_score_of_every_arm(tmp_path: pathlib.Path) -> None:
    found = summary(factorial(tmp_path))["main_effects"]
    assert found["dropout"]["left_out"] == [0, 1, 2, 3, 4, 5]
    assert (found["dropout"]["n_pairs"], found["dropout"]["mean_difference"]) == (0, None)
    assert found["dropout"]["sentence"] == (
        "dropout, averaged over all combinations of the others, has no pair with the arms without it: nothing can be "
        "said about test accuracy."
    )


def test_other_designs_have_no_main_effects(tmp_path: pathlib.Path) -> None:
    assert summary(Stored(tmp_path))["main_effects"] is None


def test_leaving_one_out_is_held_against_all_techniques(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=6, design="leave-one-out", **{"techniques.batch_norm": {}}))
    stored.add("control", [0.5] * 6)
    stored.add("full", [0.8] * 6)
    stored.add("without-dropout", [0.7] * 6)
    rows = {row["arm"]: row for row in summary(stored)["arms"]}
    assert (rows["full"]["reference"], rows["without-dropout"]["reference"]) == ("control", "full")
    assert rows["without-dropout"]["difference"]["mean"] == pytest.approx(-0.1)
    assert "against full" in rows["without-dropout"]["evidence"]["sentence"]
