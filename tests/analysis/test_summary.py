import json
import pathlib
from typing import Any

import pytest
from stored import ENVIRONMENT, Stored, config_with

from betterdl_cli.analysis.summary import seeds_in_words, summarise
from betterdl_cli.store import EngineChoice


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> Stored:
    return Stored(tmp_path)


def summary(stored: Stored) -> dict[str, Any]:
    found = summarise(stored.directory, stored.directory.plan())
    json.dumps(found, allow_nan=False)  # always strict JSON
    return found


def test_the_numbers_of_an_experiment_by_hand(stored: Stored) -> None:
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85, 0.80, 0.89])
    found = summary(stored)
    control, dropout = found["arms"]
    assert control["scores"]["test"]["accuracy"] == pytest.approx(
        {"n": 3, "mean": 0.8, "sd": 0.1, "min": 0.7, "max": 0.9}
    )
    assert dropout["difference"]["mean"] == pytest.approx(0.14 / 3)
    assert dropout["difference"]["values"] == pytest.approx({"0": 0.05, "1": 0.10, "2": -0.01})
    assert (dropout["difference"]["wins"], dropout["difference"]["ties"], dropout["difference"]["n_pairs"]) == (2, 0, 3)
    assert (dropout["difference"]["min"], dropout["difference"]["max"]) == pytest.approx((-0.01, 0.10))
    assert control["difference"] is None
    assert dropout["epochs"] == {"n": 3, "mean": 3.0, "sd": 0.0, "min": 3.0, "max": 3.0}
    assert dropout["seconds"]["mean"] == 2.0


def test_the_documented_keys_are_there(stored: Stored) -> None:
    stored.add("control", [0.8])
    stored.add("dropout", [0.8])
    found = summary(stored)
    assert set(found) == {
        "schema", "experiment", "id", "directory", "smoke", "metric", "higher_is_better", "validation_is_test", "seeds",
        "environment", "engine", "design", "arms", "main_effects", "notes", "pictures",
    }  # fmt: skip
    assert set(found["arms"][1]) == {
        "arm", "area", "reference", "differences", "seeds", "failed", "diverged", "missing", "unreadable", "scores",
        "best_epoch", "epochs",
        "stopped_early", "seconds", "parameters", "difference", "evidence",
    }  # fmt: skip
    assert set(found["arms"][1]["difference"]) == {
        "metric", "n_pairs", "values", "n", "mean", "sd", "min", "max", "ci95", "wins", "ties", "smallest_p", "paired",
    }  # fmt: skip
    assert found["schema"] == "bdl.summary/1"
    assert list(found["arms"][1]["scores"]) == ["train", "validation", "test"]


def test_the_engine_that_had_to_do_is_named_with_its_reason(stored: Stored) -> None:
    stored.add("control", [0.8])
    plan = stored.plan.model_copy(update={"engine": EngineChoice(name="fit", reasons={"dropout": "ValueError: no"})})
    found = summarise(stored.directory, plan)
    assert found["engine"] == {"name": "fit", "width": 1, "reasons": {"dropout": "ValueError: no"}}
    assert found["notes"][0] == (
        "Engine fit trained all arms, because engine vectorized cannot train every one (dropout: ValueError: no)."
    )


def test_another_number_of_seeds_at_once_is_no_mixed_environment(stored: Stored) -> None:
    for seed, width in ((0, 10), (1, 5)):
        stored.add_run("control", seed, environment={**ENVIRONMENT, "width": width})
    assert summary(stored)["environment"] == ENVIRONMENT


def test_a_lower_loss_is_better(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(metric="test_loss"))
    stored.add("control", [0.80, 0.70])
    stored.add("dropout", [0.85, 0.70])
    difference = summary(stored)["arms"][1]["difference"]
    assert summary(stored)["higher_is_better"] is False
    assert difference["values"] == pytest.approx({"0": -0.05, "1": 0.0})
    assert (difference["wins"], difference["ties"]) == (1, 1)


def test_an_experiment_without_any_run_has_a_summary(stored: Stored) -> None:
    control, dropout = summary(stored)["arms"]
    assert (control["seeds"], control["scores"], control["epochs"], control["parameters"]) == ([], {}, None, None)
    assert (dropout["difference"]["n_pairs"], dropout["difference"]["mean"]) == (0, None)
    assert summary(stored)["notes"] == [
        "control, dropout: no run yet of seeds 0 to 2.",
        "`bdl run` with the same config trains what is not finished.",
    ]


def test_diverged_runs_are_told_apart_and_left_out_of_the_means(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8, 0.8])
    stored.add_run("dropout", 0, 0.6)
    stored.add_run("dropout", 1, 0.1, diverged=3)
    stored.add_run("dropout", 2, None, diverged=2)
    found = summary(stored)
    dropout = found["arms"][1]
    assert dropout["scores"]["test"]["accuracy"] == {"n": 1, "mean": 0.6, "sd": None, "min": 0.6, "max": 0.6}
    assert (dropout["seeds"], dropout["diverged"], dropout["failed"]) == ([0, 1, 2], {"1": 3, "2": 2}, {})
    assert (
        "dropout diverged in 2 of 3 runs (seed 2 at epoch 2; seed 1 at epoch 3); its scores are those of the runs "
        "that did not." in found["notes"]
    )


def test_failed_runs_are_told_apart(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add_run("dropout", 0, 0.6)
    stored.add_failure("dropout", 1, "the training process died: it was ended by signal 9 (SIGKILL)")
    found = summary(stored)
    dropout = found["arms"][1]
    assert (dropout["seeds"], list(dropout["failed"])) == ([0], ["1"])
    assert (
        "dropout failed in 1 of 3 runs (seed 1: the training process died: it was ended by signal 9 (SIGKILL)); "
        "the log.txt of a failed run says more."
    ) in found["notes"]
    assert "`bdl run` with the same config trains what is not finished." in found["notes"]


def test_runs_that_failed_alike_are_told_together(stored: Stored) -> None:
    for seed in (0, 1, 2):
        stored.add_failure("dropout", seed, "no memory" if seed else "no time")
    (note, *_) = summary(stored)["notes"]
    assert note.startswith("dropout failed in all 3 runs (seed 0: no time; seeds 1, 2: no memory); the log.txt")


def test_missing_and_torn_runs_are_told(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8, 0.8])
    stored.add("dropout", [0.8, 0.8])
    (stored.directory.run_path("dropout", 0) / "history.json").write_text("{")
    found = summary(stored)
    control, dropout = found["arms"]
    assert (control["missing"], control["unreadable"]) == ([], [])
    assert (dropout["seeds"], dropout["missing"], dropout["unreadable"]) == ([1], [2], [0])
    assert found["notes"][:3] == [
        "dropout: no run yet of seed 2.",
        "dropout: what is stored of seed 0 is not whole (a file was cut short or changed) and left out.",
        "`bdl run` with the same config trains what is not finished.",
    ]


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([3], "seed 3"), ([1, 0], "seeds 0, 1"), ([0, 1, 2], "seeds 0 to 2"), ([0, 2, 3], "seeds 0, 2, 3")],
)
def test_seeds_in_words(seeds: list[int], words: str) -> None:
    assert seeds_in_words(seeds) == words


def test_all_runs_of_an_arm_may_diverge(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=2))
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [None, None], diverged=1)
    dropout = summary(stored)["arms"][1]
    assert (dropout["scores"], dropout["best_epoch"], dropout["difference"]["mean"]) == ({}, None, None)
    assert dropout["epochs"]["mean"] == 3.0
    note = summary(stored)["notes"][0]
    assert note == "dropout diverged in both runs (seeds 0, 1 at epoch 1), so it has no score."


def test_the_best_epoch_is_marked_with_what_selected_it(stored: Stored) -> None:
    stored.add("control", [0.8, 0.6], epochs=4)
    best = summary(stored)["arms"][0]["best_epoch"]
    assert (best["selected_on"], best["epoch"]["mean"]) == ("val_loss", 3.0)
    assert best["scores"]["test"]["accuracy"]["mean"] == pytest.approx(0.7)


def test_runs_that_stopped_early_are_counted(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add_run("control", 2, stopped_early=True, epochs=2)
    control = summary(stored)["arms"][0]
    assert (control["stopped_early"], control["epochs"]["min"], control["epochs"]["max"]) == (1, 2.0, 3.0)


@pytest.mark.parametrize(("pairs", "words"), [(1, "With 1 pair the smallest p"), (5, "With 5 pairs the smallest p")])
def test_few_pairs_prove_nothing(tmp_path: pathlib.Path, pairs: int, words: str) -> None:
    stored = Stored(tmp_path, config_with(seeds=6))
    stored.add("control", [0.8] * 6)
    stored.add("dropout", [0.8] * pairs)
    assert [note for note in summary(stored)["notes"] if note.startswith(words)]


def test_six_pairs_can_prove_something(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=6))
    stored.add("control", [0.8] * 6)
    stored.add("dropout", [0.9] * 6)
    assert summary(stored)["notes"] == []


def notes_of(stored: Stored) -> str:
    return " ".join(summary(stored)["notes"])


def test_scores_chosen_by_the_test_set_are_called_optimistic(tmp_path: pathlib.Path) -> None:
    config = config_with(**{"data.split.validation": "test", "techniques.early_stopping": {"patience": 1}})
    stored = Stored(tmp_path, config)
    for arm in stored.plan.arms:
        stored.add(arm.id, [0.8] * 3)
    assert summary(stored)["notes"][:1] == [
        "The validation set is the test set: the test scores of early_stopping and all scores of a best epoch are "
        "optimistic, because they were chosen by it."
    ]


def test_arms_that_decide_by_their_training_loss_are_not_called_optimistic(tmp_path: pathlib.Path) -> None:
    config = config_with(**{"data.split.validation": "test", "techniques.early_stopping": {"monitor": "loss"}})
    stored = Stored(tmp_path, config)
    stored.add("control", [0.8])
    stored.add("early_stopping", [0.8])
    assert "The validation set is the test set: all scores of a best epoch are optimistic" in notes_of(stored)


def test_scores_that_there_are_not_are_not_called_optimistic(tmp_path: pathlib.Path) -> None:
    config = config_with(**{"data.split.validation": "test", "techniques.early_stopping": {"patience": 1}})
    stored = Stored(tmp_path, config)
    stored.add("control", [0.8], diverged=2)
    stored.add("early_stopping", [0.8], diverged=2)
    assert "optimistic" not in notes_of(stored)
    stored.add_run("control", 1, 0.8, best=None)
    assert "optimistic" not in notes_of(stored)


def test_mixed_environments_are_all_listed(stored: Stored) -> None:
    stored.add("control", [0.8])
    stored.add_run("dropout", 0, environment={"engine": "fit", "threads": 2})
    environment = summary(stored)["environment"]
    assert [item["threads"] for item in environment["mixed"]] == [1, 2]
