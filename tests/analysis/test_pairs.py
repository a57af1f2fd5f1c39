import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest
from stored import ENVIRONMENT, Stored, config_with

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.pairs import Pair, common_metric, comparison_document, refuse_confounded
from betterdl_cli.analysis.summary import experiment_arms
from betterdl_cli.config.experiment import Judging
from betterdl_cli.errors import UsageError
from betterdl_cli.history import History


def bare(label: str, **metrics: list[float]) -> ArmData:
    history = History({name: np.array(values, dtype=float) for name, values in metrics.items()})
    return ArmData(label, {NO_SEED: history})


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> Stored:
    stored = Stored(tmp_path)
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85, 0.80, 0.89])
    return stored


def own_pair(stored: Stored) -> Pair:
    arms = experiment_arms(stored.directory, stored.plan)
    return Pair(arms["control"], arms["dropout"])


def document(*pairs: Pair, metric: str = "test_accuracy", validation_is_test: bool = False) -> Any:
    found = comparison_document(pairs, metric, validation_is_test, Judging())
    json.dumps(found, allow_nan=False)
    return found


# ---- which metric ----


def test_the_metric_of_the_experiment_comes_first(stored: Stored) -> None:
    assert common_metric([own_pair(stored)], None, "test_loss") == "test_loss"


def test_else_the_first_that_all_have(stored: Stored) -> None:
    history = bare("h.csv", loss=[0.5], val_loss=[0.6])
    assert common_metric([Pair(own_pair(stored).baseline, history)], None, "test_accuracy") == "val_loss"
    assert common_metric([Pair(history, bare("i.csv", loss=[0.4], mse=[1.0]))], None, None) == "loss"


def test_a_metric_asked_for_is_taken_if_one_side_has_it() -> None:
    pair = Pair(bare("h.csv", loss=[0.5], mae=[1.0]), bare("i.csv", loss=[0.4]))
    assert common_metric([pair], "mae", None) == "mae"


def test_a_misspelt_metric_is_corrected(stored: Stored) -> None:
    with pytest.raises(UsageError) as caught:
        common_metric([own_pair(stored)], "test_acuracy", None)
    assert str(caught.value) == (
        "expected a metric that the runs have (test_accuracy, val_accuracy, test_loss, val_loss, train_accuracy, "
        "train_loss), found 'test_acuracy' (did you mean 'test_accuracy'?)"
    )


def test_without_a_common_metric_both_sides_are_listed() -> None:
    with pytest.raises(UsageError) as caught:
        common_metric([Pair(bare("h.csv", loss=[0.5], val_loss=[float("inf")]), bare("i.csv", mse=[1.0]))], None, None)
    assert str(caught.value) == (
        "expected a metric with a finite final value on both sides, found none: h.csv has loss; i.csv has mse"
    )


@pytest.mark.parametrize("other", [None, 0.8])
def test_runs_that_all_diverged_are_compared_on_what_they_recorded(tmp_path: pathlib.Path, other: float | None) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [None], diverged=1)
    stored.add("dropout", [other], diverged=None if other else 1)
    assert common_metric([own_pair(stored)], None, "test_loss") == "test_loss"
    assert common_metric([own_pair(stored)], None, None) == "test_accuracy"


def test_a_failed_arm_does_not_choose_the_metric(stored: Stored, tmp_path: pathlib.Path) -> None:
    failed = Stored(tmp_path, config_with(name="failed", **{"training.epochs": 9}))
    failed.add_failure("dropout", 0)
    after = experiment_arms(failed.directory, failed.plan)["dropout"]
    assert common_metric([Pair(own_pair(stored).baseline, after)], None, "test_accuracy") == "test_accuracy"


def test_a_metric_with_scores_goes_before_one_that_is_only_recorded() -> None:
    before, after = bare("h.csv", val_loss=[math.nan], mae=[1.0]), bare("i.csv", val_loss=[0.5], mae=[2.0])
    assert common_metric([Pair(before, after)], None, None) == "mae"


def test_a_diverged_history_is_compared_on_what_it_recorded() -> None:
    before = bare("h.csv", loss=[0.5, 0.4], val_accuracy=[0.5, 0.6])
    after = bare("i.csv", loss=[0.5, math.nan], val_accuracy=[0.5, 0.9])
    assert common_metric([Pair(before, after)], None, None) == "val_accuracy"


def test_without_any_finished_run_it_is_said_what_became_of_them(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add_failure("dropout", 1, "no memory")
    with pytest.raises(UsageError) as caught:
        common_metric([own_pair(stored)], None, "test_accuracy")
    assert str(caught.value) == (
        "expected finished runs on both sides, found none. dropout failed in 1 of 3 runs (seed 1: no memory); the "
        "log.txt of a failed run says more. control: no run yet of seeds 0 to 2. dropout: no run yet of seeds 0, 2. "
        "`bdl run` with the same config trains what is not finished"
    )


# ---- one cause ----


def test_confounded_pairs_are_refused_with_every_difference(stored: Stored, tmp_path: pathlib.Path) -> None:
    other = Stored(tmp_path, config_with(**{"training.epochs": 9, "data.random_state": 7}))
    before = experiment_arms(stored.directory, stored.plan)["control"]
    after = experiment_arms(other.directory, other.plan)["dropout"]
    with pytest.raises(UsageError) as caught:
        refuse_confounded([Pair(before, after)])
    assert caught.value.exit_code == 2
    assert str(caught.value).splitlines() == [
        "control and dropout differ by 3 things:",
        "  ~ data.random_state: 1 → 7",
        "  ~ training.epochs: 3 → 9",
        "  + layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1",
        "An effect would have no single cause. --allow-confounded compares them all the same.",
    ]


def test_pairs_with_one_cause_or_unknown_recipes_are_not_refused(stored: Stored) -> None:
    pair = own_pair(stored)
    refuse_confounded([pair, Pair(pair.candidate, pair.candidate), Pair(pair.baseline, bare("h.csv", loss=[0.1]))])


# ---- the document ----


def test_differences_are_candidate_minus_baseline(stored: Stored) -> None:
    pair = own_pair(stored)
    (there,) = document(pair)["comparisons"]
    (back,) = document(Pair(pair.candidate, pair.baseline))["comparisons"]
    assert there["mean_difference"] == pytest.approx(0.14 / 3)
    assert back["mean_difference"] == pytest.approx(-0.14 / 3)
    assert (there["wins"], back["wins"]) == (2, 1)
    assert there["scores"] == {
        "control": {"0": 0.8, "1": 0.7, "2": 0.9},
        "dropout": {"0": 0.85, "1": 0.8, "2": 0.89},
    }
    assert there["spreads"]["control"] == pytest.approx({"n": 3, "mean": 0.8, "sd": 0.1, "min": 0.7, "max": 0.9})
    assert there["spec_differences"] == ["+ layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1"]
    assert back["spec_differences"] == ["- layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1"]


def test_the_documented_keys_are_there(stored: Stored) -> None:
    found = document(own_pair(stored))
    assert set(found) == {"schema", "metric", "direction", "comparisons", "notes", "pictures"}
    assert set(found["comparisons"][0]) == {
        "baseline", "candidate", "spec_differences", "confounded", "metric", "n_pairs", "values", "n",
        "mean_difference", "sd", "min", "max", "ci95", "wins", "ties", "smallest_p", "paired", "failed", "diverged",
        "missing", "unreadable", "no_pair", "scores", "spreads", "schema", "direction", "verdict", "sentence", "aa",
        "scope", "p_value", "p_adjusted", "p_holm", "win_share_ci95", "alpha", "equivalence_margin", "at_least_margin",
        "detectable_effect", "seeds_needed", "failures", "unseen_failure_rate", "unpaired", "secondary",
    }  # fmt: skip
    files = document(Pair(bare("h", loss=[0.5]), bare("i", loss=[0.4])), metric="loss")["comparisons"][0]
    assert set(files) == set(found["comparisons"][0])
    assert (found["schema"], found["direction"]) == ("bdl.compare/1", "higher is better")


def test_diverged_and_failed_runs_are_apart(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.8, 0.8, 0.8])
    stored.add_run("dropout", 0, 0.6)
    stored.add_run("dropout", 1, None, diverged=2)
    stored.add_failure("dropout", 2)
    (found,) = document(own_pair(stored))["comparisons"]
    assert found["failed"] == {
        "control": [],
        "dropout": [{"seed": 2, "error": "ResourceExhaustedError: no memory"}],
    }
    assert found["diverged"] == {"control": [], "dropout": [{"seed": 1, "epoch": 2}]}
    assert found["values"] == pytest.approx({"0": -0.2})


def test_arms_of_the_same_name_are_told_apart(stored: Stored, tmp_path: pathlib.Path) -> None:
    from betterdl_cli.analysis.sources import resolve

    other = Stored(tmp_path, config_with(**{"training.epochs": 9}))
    other.add("dropout", [0.5])
    other.add_run("dropout", 1, None, diverged=2)
    before, after = (resolve(f"{word.name}:dropout", tmp_path).arms["dropout"] for word in (stored, other))
    found = document(Pair(before, after))
    names = [f"{stored.name}:dropout", f"{other.name}:dropout"]
    assert [found["comparisons"][0]["baseline"], found["comparisons"][0]["candidate"]] == names
    assert list(found["comparisons"][0]["scores"]) == names
    assert found["notes"][0].startswith(f"{names[1]} diverged in 1 of 3 runs (seed 1 at epoch 2)")


def test_runs_trained_differently_are_told(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=2))
    stored.add("control", [0.8, 0.8])
    stored.add_run("dropout", 0)
    stored.add_run("dropout", 1, environment={**ENVIRONMENT, "threads": 2, "versions": {"keras": "3.16"}})
    assert document(own_pair(stored))["notes"][-1:] == [
        "control and dropout were trained differently (threads 1 → 2, versions {keras: 3.15.1, tensorflow: 2.21.0} → "
        "{keras: 3.16}): that may make a difference too."
    ]


def test_two_bare_histories_are_no_evidence() -> None:
    found = document(Pair(bare("h.csv", loss=[0.5]), bare("i.csv", loss=[0.25])), metric="loss")
    assert found["comparisons"][0]["mean_difference"] == -0.25
    assert (found["comparisons"][0]["spec_differences"], found["comparisons"][0]["confounded"]) == (None, None)
    assert found["notes"] == ["A history file is one run, and no evidence: another seed can turn the difference round."]


def test_the_fewest_pairs_of_all_comparisons_are_warned_of(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=8, **{"techniques.batch_norm": {}}))
    stored.add("control", [0.8] * 8)
    stored.add("dropout", [0.9] * 8)
    stored.add("batch_norm", [0.8] * 2)
    arms = experiment_arms(stored.directory, stored.plan)
    pairs = [Pair(arms["control"], arms[name]) for name in ("dropout", "batch_norm")]
    assert document(*pairs)["notes"][-1].startswith("With 2 pairs the smallest p")
    assert document(pairs[0])["notes"] == []


def test_a_comparison_without_pairs_does_not_silence_the_others(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=2, **{"techniques.batch_norm": {}}))
    stored.add("control", [0.8] * 2)
    stored.add("dropout", [0.8] * 2)
    arms = experiment_arms(stored.directory, stored.plan)
    pairs = [Pair(arms["control"], arms[name]) for name in ("dropout", "batch_norm")]
    assert document(*pairs)["notes"][-1].startswith("With 2 pairs the smallest p")


# ---- histories without a seed ----


def test_a_history_file_has_no_seed_in_the_document() -> None:
    (found,) = document(Pair(bare("h.csv", loss=[0.5]), bare("i.csv", loss=[0.25])), metric="loss")["comparisons"]
    assert (found["values"], found["scores"]) == ({}, {"h.csv": {}, "i.csv": {}})
    assert (found["n_pairs"], found["n"], found["mean_difference"], found["wins"]) == (1, 1, -0.25, 1)
    assert found["spreads"]["i.csv"] == {"n": 1, "mean": 0.25, "sd": None, "min": 0.25, "max": 0.25}


@pytest.mark.parametrize("last", [math.nan, math.inf, 5e11])
def test_a_history_that_diverged_never_wins(last: float) -> None:
    before = bare("h.csv", loss=[0.5, 0.4], val_accuracy=[0.5, 0.6])
    after = bare("i.csv", loss=[0.5, last], val_accuracy=[0.5, 0.9])
    found = document(Pair(before, after), metric="val_accuracy")
    (row,) = found["comparisons"]
    assert row["diverged"] == {"h.csv": [], "i.csv": [{"seed": None, "epoch": 2}]}
    assert (row["n_pairs"], row["wins"], row["mean_difference"]) == (0, 0, None)
    assert row["no_pair"] == "i.csv diverged"
    assert found["notes"][0] == "i.csv diverged at epoch 2: its last values are no scores."


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (bare("h", loss=[0.5, math.nan]), bare("i", loss=[math.nan]), "h and i diverged"),
        (bare("h", mae=[0.5]), bare("i", mae=[math.nan]), "not both files end with a finite value"),
    ],
)
def test_why_two_files_are_no_pair(before: ArmData, after: ArmData, reason: str) -> None:
    assert document(Pair(before, after), metric="mae")["comparisons"][0]["no_pair"] == reason


def test_why_stored_runs_are_no_pair(stored: Stored) -> None:
    pair = own_pair(stored)
    assert document(pair)["comparisons"][0]["no_pair"] is None
    mixed = document(Pair(pair.baseline, bare("h", val_loss=[1.0])), metric="val_loss")["comparisons"][0]
    assert mixed["no_pair"] == "a history file has no seed, so it makes no pair with a stored run"
    stored.add("dropout", [None] * 3, diverged=1)
    assert document(own_pair(stored))["comparisons"][0]["no_pair"] == "no seed has a score on both sides"


# ---- the same twice ----


def test_a_thing_compared_with_itself_is_called_so(stored: Stored) -> None:
    pair = own_pair(stored)
    assert document(Pair(pair.baseline, pair.baseline))["notes"][0] == (
        "control is compared with itself: both sides are the same runs."
    )


def test_equal_histories_are_called_equal() -> None:
    found = document(Pair(bare("h", loss=[0.5]), bare("i", loss=[0.5])), metric="loss")
    assert found["notes"][0] == "h and i have the same history, number for number."
