import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from shell import bdl
from stored import Stored, config_with

RUNS = pathlib.Path("runs")


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    stored = Stored(RUNS)
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85, 0.80, 0.89])
    return stored


@pytest.fixture
def other(stored: Stored) -> Stored:
    """The same with more epochs."""
    other = Stored(RUNS, config_with(name="other", **{"training.epochs": 9}))
    other.add("control", [0.90, 0.80])
    other.add("dropout", [0.95, 0.60])
    return other


def history(name: str, **metrics: list[float]) -> str:
    pathlib.Path(name).write_text(json.dumps(metrics))
    return name


# ---- what is compared with what ----


def test_one_experiment_compares_its_treatments_with_its_control(stored: Stored) -> None:
    found = bdl("compare", "made-up", "--json", "--no-pictures").json
    (row,) = found["comparisons"]
    assert (row["baseline"], row["candidate"]) == ("control", "dropout")
    assert row["mean_difference"] == pytest.approx(0.14 / 3)
    assert found["metric"] == "test_accuracy"
    assert bdl("compare", stored.path, "--json", "--no-pictures").json == found


@pytest.mark.usefixtures("stored")
def test_two_experiments_compare_their_arms_of_the_same_name(other: Stored) -> None:
    rows = bdl("compare", "made-up", "other", "--json", "--no-pictures").json["comparisons"]
    assert [row["candidate"] for row in rows] == [f"{other.name}:control", f"{other.name}:dropout"]
    assert rows[0]["values"] == pytest.approx({"0": 0.10, "1": 0.10})
    assert rows[1]["values"] == pytest.approx({"0": 0.10, "1": -0.20})
    assert rows[0]["spec_differences"] == ["~ training.epochs: 3 → 9"]
    assert rows[0]["confounded"] is False


@pytest.mark.usefixtures("stored")
def test_two_arms_are_compared_in_the_order_given() -> None:
    (row,) = bdl("compare", "made-up:dropout", "made-up:control", "--json", "--no-pictures").json["comparisons"]
    assert row["mean_difference"] == pytest.approx(-0.14 / 3)


@pytest.mark.usefixtures("other")
def test_an_arm_is_compared_with_that_of_the_same_name_of_an_experiment() -> None:
    (row,) = bdl("compare", "made-up:dropout", "other", "--json", "--no-pictures").json["comparisons"]
    assert row["values"] == pytest.approx({"0": 0.10, "1": -0.20})


def test_two_runs_of_one_seed_are_one_pair(stored: Stored) -> None:
    paths = [stored.directory.run_path(arm, 1) for arm in ("control", "dropout")]
    (row,) = bdl("compare", *paths, "--json", "--no-pictures").json["comparisons"]
    assert row["values"] == pytest.approx({"1": 0.10})


def test_two_runs_of_different_seeds_are_no_pair(stored: Stored) -> None:
    paths = [stored.directory.run_path("control", seed) for seed in (0, 1)]
    result = bdl("compare", *paths)
    assert result.code == 0
    assert "nothing was subtracted, because the two have no finished run of the same seed." in result.out
    assert "No picture of the differences of control: the two have no seed in common." in result.out


@pytest.mark.usefixtures("stored")
def test_two_history_files_are_compared_by_their_last_epoch() -> None:
    files = history("a.json", loss=[0.7, 0.5]), history("b.json", loss=[0.7, 0.25])
    result = bdl("compare", *files)
    assert result.code == 0
    assert result.out.splitlines()[0].strip() == "loss (lower is better)"
    assert "What b.json and a.json differ by is not known: a history file has no recipe." in result.out
    assert ("b.json − a.json, loss: −0.250, better. Paired: nothing is known of what these runs share.") in result.out


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("end", [[float("nan"), 0.3], [float("inf"), 0.3], [9.0, 5e11]])
def test_a_history_file_that_diverged_is_said_to(end: list[float]) -> None:
    calm = history("calm.json", loss=[0.7, 0.5, 0.4], accuracy=[0.5, 0.6, 0.7])
    lost = history("lost.json", loss=[0.7, *end], accuracy=[0.5, 0.9, 0.9])
    result = bdl("compare", calm, lost)
    assert result.code == 0
    assert "lost.json diverged at epoch 2: its last values are no scores." in result.out
    assert "lost.json − calm.json: nothing was subtracted, because lost.json diverged." in result.out
    assert "better" not in result.out.partition("\n")[2]
    (row,) = bdl("compare", lost, calm, "--json", "--no-pictures").json["comparisons"]
    assert row["diverged"] == {"lost.json": [{"seed": None, "epoch": 2}], "calm.json": []}
    assert (row["n_pairs"], row["wins"]) == (0, 0)


@pytest.mark.usefixtures("stored")
def test_a_thing_compared_with_itself_is_told_in_one_sentence() -> None:
    out = bdl("compare", "made-up:control", "made-up:control", "--no-pictures").out
    assert "is compared with itself: both sides are the same runs." in out
    assert "same recipe" not in out
    assert "control − made-up" not in out


@pytest.mark.parametrize("lost", [("dropout",), ("control", "dropout")])
def test_an_experiment_whose_runs_diverged_is_described(stored: Stored, lost: tuple[str, ...]) -> None:
    for arm in lost:
        stored.add(arm, [None, None, None], diverged=2)
    result = bdl("compare", "made-up")
    assert (result.code, result.err) == (0, "")
    for arm in lost:
        assert f"{arm} diverged in all 3 runs (seeds 0 to 2 at epoch 2), so it has no score." in result.out
    assert "dropout − control: nothing was subtracted, because no seed has a score on both sides." in result.out
    assert "│        diverged │" in result.out


@pytest.mark.usefixtures("stored")
def test_a_failed_arm_does_not_keep_the_others_from_being_compared() -> None:
    both = Stored(RUNS, config_with(name="both", **{"techniques.batch_norm": {}}))
    both.add("control", [0.8, 0.7, 0.9])
    both.add("dropout", [0.9, 0.8, 0.9])
    for seed in range(3):
        both.add_failure("batch_norm", seed, "no memory")
    result = bdl("compare", "both", "--no-pictures")
    assert result.code == 0
    assert "better in 2 of 3 pairs and equal in 1" in result.out
    assert "batch_norm − control: nothing was subtracted" in result.out
    assert (
        "batch_norm failed in all 3 runs (seeds 0 to 2: no memory); the log.txt of a failed run says more."
        in result.out
    )


def test_missing_and_torn_runs_are_told(stored: Stored) -> None:
    (stored.directory.run_path("dropout", 1) / "history.json").write_text("{")
    shutil.rmtree(stored.directory.run_path("control", 0))
    result = bdl("compare", "made-up", "--no-pictures")
    assert "control: no run yet of seed 0.\n" in result.out
    assert "dropout: what is stored of seed 1 is not whole" in result.out
    (row,) = bdl("compare", "made-up", "--no-pictures", "--json").json["comparisons"]
    assert row["missing"] == {"control": [0], "dropout": []}
    assert row["unreadable"] == {"control": [], "dropout": [1]}


@pytest.mark.usefixtures("other")
def test_scores_over_more_seeds_than_pairs_say_so() -> None:
    out = bdl("compare", "made-up:dropout", "other:dropout", "--no-pictures").out
    assert "0.847 ± 0.045, 3 seeds" in out


@pytest.mark.usefixtures("stored")
def test_a_history_file_is_no_pair_with_a_stored_arm() -> None:
    found = bdl("compare", "made-up:control", history("a.json", val_loss=[0.5]), "--json", "--no-pictures").json
    assert found["metric"] == "val_loss"
    assert found["comparisons"][0]["n_pairs"] == 0


@pytest.mark.usefixtures("stored")
def test_unequal_sets_of_seeds_are_paired_where_they_meet(stored: Stored) -> None:
    stored.directory.write_plan(stored.plan.model_copy(update={"seeds": (0, 1, 2, 7)}), stored.loaded.experiment)
    stored.add_run("dropout", 7, 0.1)
    (row,) = bdl("compare", "made-up", "--json", "--no-pictures").json["comparisons"]
    assert set(row["values"]) == {"0", "1", "2"}
    assert set(row["scores"]["dropout"]) == {"0", "1", "2", "7"}


def test_diverged_and_failed_runs_are_told(stored: Stored) -> None:
    stored.add_run("dropout", 1, None, diverged=2)
    stored.add_failure("dropout", 2, "no memory")
    text = bdl("compare", "made-up", "--no-pictures").out
    assert "dropout diverged in 1 of 3 runs (seed 1 at epoch 2); its scores are those of the runs that did not." in text
    assert "dropout failed in 1 of 3 runs (seed 2: no memory); the log.txt of a failed run says more." in text


# ---- what is refused ----


@pytest.mark.usefixtures("stored")
def test_a_confounded_comparison_is_refused_with_all_differences() -> None:
    Stored(RUNS, config_with(name="third", **{"training.epochs": 9, "training.batch_size": 8})).add("control", [0.8])
    result = bdl("compare", "made-up:control", "third:control", "--no-pictures")
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0].endswith("differ by 2 things:")
    assert lines[1:] == [
        "  ~ training.epochs: 3 → 9",
        "  ~ training.batch_size: 16 → 8",
        "An effect would have no single cause. --allow-confounded compares them all the same.",
    ]
    allowed = bdl("compare", "made-up:control", "third:control", "--no-pictures", "--allow-confounded")
    assert allowed.code == 0
    assert "CONFOUNDED: they differ by more than one thing, so the difference has no single cause." in allowed.out


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.json"], "bdl: expected two histories to compare, found only 'a.json': name another history file"),
        (["made-up:control"], "bdl: expected two arms or runs to compare, found only 'made-up-"),
        (["made-up", "a.json"], "bdl: expected arms of the same name, found none: made-up-"),
        (["zzz", "a.json"], "bdl: expected an experiment, an arm, a run or a history file, found nothing called 'zzz'"),
        (["made-up:dropuot", "a.json"], "bdl: expected an arm of made-up-"),
        (
            ["a.json", "config.txt"],
            "bdl: config.txt: expected a training history, found something else. What can be read:",
        ),
        (["made-up", "--metric", "test_acc"], "bdl: expected a metric that the runs have ("),
        (
            ["a.json", "b.json"],
            "bdl: expected a metric with a finite final value on both sides, found none: a.json has",
        ),
        (["", "a.json"], "bdl: expected the name of an experiment, found an empty one"),
    ],
)
def test_what_cannot_be_compared_is_one_message(words: list[str], message: str) -> None:
    history("a.json", loss=[0.5])
    history("b.json", mse=[0.5])
    pathlib.Path("config.txt").write_text("name: x\n")
    result = bdl("compare", *words)
    assert result.code == 2
    assert result.err.startswith(message)
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.usefixtures("stored")
def test_an_arm_is_suggested_where_an_experiment_was_given() -> None:
    history("dropuot.json", loss=[0.5])
    assert "(did you mean 'made-up-" in bdl("compare", "made-up", "dropuot.json").err


@pytest.mark.usefixtures("stored")
def test_an_experiment_without_finished_runs_is_one_message() -> None:
    Stored(RUNS, config_with(name="new", **{"training.epochs": 9}))
    result = bdl("compare", "new")
    assert result.code == 2
    assert result.err == (
        "bdl: expected finished runs on both sides, found none. control, dropout: no run yet of seeds 0 to 2. `bdl "
        "run` with the same config trains what is not finished\n"
    )


@pytest.mark.usefixtures("stored")
def test_one_arm_alone_gets_another_suggested() -> None:
    message = bdl("compare", "made-up:control").err
    assert message.endswith(":control': name a B, such as 'made-up-9a06fac5:dropout'\n")


def test_an_experiment_without_treatments_says_so(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Stored(RUNS, config_with(techniques={})).add("control", [0.8])
    result = bdl("compare", "made-up")
    assert result.code == 2
    assert result.err.startswith("bdl: expected an experiment with treatments, found only the control in 'made-up-")


# ---- pictures ----


def test_pictures_go_into_a_folder_named_after_both(stored: Stored) -> None:
    result = bdl("compare", "made-up:control", "made-up:dropout")
    folder = RUNS / f"compare-{stored.name}-control-vs-{stored.name}-dropout"
    names = ["curves_dropout.png", "difference_dropout.png", "effects.png"]
    assert sorted(item.name for item in folder.iterdir()) == names
    assert f"picture: {folder}/curves_dropout.png" in result.out.splitlines()


@pytest.mark.usefixtures("stored")
def test_names_that_no_folder_can_have_do_not_share_one() -> None:
    names = [history(name, loss=[0.5]) for name in ("Löss.json", "Läss.json", "L-ss.json", "日本.json")]
    folders = [pathlib.Path(bdl("compare", name, name, "--json").json["pictures"][0]).parent for name in names]
    assert len(set(folders)) == 4
    assert folders[2] == RUNS / "compare-L-ss.json-vs-L-ss.json"
    assert all(folder.name.isascii() for folder in folders)


@pytest.mark.usefixtures("stored")
def test_pictures_go_where_they_are_asked_to() -> None:
    found = bdl("compare", "made-up", "--output", "new/folder", "--json").json
    assert found["pictures"] == [
        f"new/folder/{name}.png" for name in ("effects", "curves_dropout", "difference_dropout")
    ]
    assert all(pathlib.Path(path).read_bytes().startswith(b"\x89PNG") for path in found["pictures"])


@pytest.mark.usefixtures("stored")
def test_what_cannot_be_drawn_is_said_and_the_rest_is_done() -> None:
    files = history("a.json", loss=[0.5]), history("b.json", mse=[0.5])
    result = bdl("compare", *files, "--metric", "loss")
    assert result.code == 0
    assert "No picture of b.json: expected a metric common to 'a.json' and 'b.json', found none." in result.out


@pytest.mark.usefixtures("stored")
def test_a_folder_for_pictures_that_cannot_be_made_is_one_message() -> None:
    history("a.json", loss=[0.5])
    result = bdl("compare", "made-up", "--output", "a.json")
    assert result.code == 1
    assert result.err == "bdl: cannot write a.json/effects.png: expected a directory, found the file a.json\n"


@pytest.mark.usefixtures("stored")
def test_metrics_with_odd_names_are_printed_as_they_are() -> None:
    files = history("a.json", **{"loss[/red]": [0.5]}), history("b.json", **{"loss[/red]": [0.25]})
    result = bdl("compare", *files)
    assert result.code == 0
    assert "b.json − a.json, loss[/red]: −0.250" in result.out


@pytest.mark.usefixtures("stored")
def test_numbers_that_are_not_finite_never_reach_the_json() -> None:
    files = history("a.json", loss=[0.5], mse=[1.0]), history("b.json", loss=[float("inf")], mse=[0.5])
    found = bdl("compare", *files, "--json", "--metric", "loss").json
    assert found["comparisons"][0]["mean_difference"] is None


# ---- without the heavy libraries ----


def test_comparing_imports_no_training_library(stored: Stored) -> None:
    code = (
        "import sys\n"
        "from betterdl_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", code, "compare", stored.name, "--output", "pictures"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = done.stdout.splitlines()[-1]
    assert pathlib.Path("pictures/difference_dropout.png").exists()
    assert "'matplotlib'" in imported
    assert not [
        name for name in ("tensorflow", "keras", "sklearn", "jax", "scipy", "pandas") if f"'{name}'" in imported
    ]


# ---- verdicts ----

VARIED = [0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]
DOCUMENTED = {
    "schema", "metric", "direction", "baseline", "candidate", "n_pairs", "mean_difference", "ci95", "p_value",
    "p_adjusted", "wins", "ties", "verdict", "sentence", "scope", "paired", "failed", "secondary",
}  # fmt: skip


@pytest.fixture
def judged(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    """dropout helps, l2 hurts, batch_norm changes nothing."""
    monkeypatch.chdir(tmp_path)
    config = config_with(name="judged", seeds=8, **{"techniques.l2": {}, "techniques.batch_norm": {}})
    stored = Stored(RUNS, config)
    stored.add("control", [0.5] * 8)
    stored.add("dropout", [0.5 + value for value in VARIED])
    stored.add("l2", [0.5 - value for value in VARIED])
    stored.add("batch_norm", [0.501, 0.499] * 4)
    return stored


def verdicts(*words: object) -> dict[str, str]:
    found = bdl("compare", *words, "--json", "--no-pictures").json["comparisons"]
    return {row["candidate"]: row["verdict"] for row in found}


@pytest.mark.usefixtures("judged")
def test_every_comparison_has_the_documented_keys() -> None:
    found = bdl("compare", "judged", "--json", "--no-pictures").json["comparisons"]
    assert all(set(row) >= DOCUMENTED for row in found)
    row = found[0]
    assert (row["schema"], row["metric"], row["direction"]) == ("bdl.compare/1", "test_accuracy", "higher is better")
    assert (row["n_pairs"], row["wins"], row["ties"]) == (8, 8, 0)
    assert row["p_value"] == 2 / 2**8
    assert row["p_adjusted"] == pytest.approx(2 / 2**8 * 3 / 2)  # the second smallest of three
    assert (row["verdict"], row["scope"]) == ("helps", "on this split")
    assert row["failed"] == {"control": [], "dropout": []}


@pytest.mark.usefixtures("judged")
def test_verdicts_are_told_ranked_with_the_best_first() -> None:
    lines = bdl("compare", "judged", "--no-pictures").out.splitlines()
    said = [line.partition(" test accuracy")[0] for line in lines if " on this split:" in line]
    assert said == ["dropout helps", "batch_norm makes no practical difference to", "l2 hurts"]
    assert [line.split()[3] for line in lines if line.startswith("│ control")] == ["dropout", "batch_norm", "l2"]


def test_history_files_have_the_same_keys_and_no_verdict(tmp_path: pathlib.Path, judged: Stored) -> None:
    files = history("a.json", loss=[0.5]), history("b.json", loss=[0.25])
    (row,) = bdl("compare", *files, "--json", "--no-pictures").json["comparisons"]
    assert set(row) == set(bdl("compare", "judged", "--json", "--no-pictures").json["comparisons"][0])
    assert (row["verdict"], row["sentence"], row["p_value"]) == (None, None, None)


@pytest.mark.usefixtures("judged")
def test_a_larger_margin_makes_effects_too_small_to_matter() -> None:
    assert verdicts("judged", "--equivalence-margin", 0.2) == {
        "dropout": "helps, by less than theta",
        "l2": "hurts, by less than theta",
        "batch_norm": "no practical difference",
    }


@pytest.mark.usefixtures("judged")
def test_a_smaller_alpha_leaves_undecided() -> None:
    assert verdicts("judged", "--alpha", 0.001) == {
        "dropout": "undecided",
        "batch_norm": "no practical difference",
        "l2": "undecided",
    }


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(("metric", "margin"), [("test_loss", None), ("val_accuracy", 0.01)])
def test_another_metric_has_its_own_usual_margin(metric: str, margin: float | None) -> None:
    row = bdl("compare", "judged", "--metric", metric, "--json", "--no-pictures").json["comparisons"][0]
    assert (row["metric"], row["equivalence_margin"], row["verdict"]) == (metric, margin, "helps")


def test_margin_and_alpha_are_those_of_the_experiment(stored: Stored) -> None:
    other = Stored(RUNS, config_with(name="strict", equivalence_margin=0.03, alpha=0.01))
    other.add("control", [0.8])
    other.add("dropout", [0.8])
    (row,) = bdl("compare", "strict", "--json", "--no-pictures").json["comparisons"]
    assert (row["equivalence_margin"], row["alpha"]) == (0.03, 0.01)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("option", ["--equivalence-margin", "--alpha"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_numbers_that_cannot_be_meant_are_refused(option: str, value: str) -> None:
    result = bdl("compare", "made-up", option, value, "--no-pictures")
    assert (result.code, result.out) == (2, "")
    assert option in result.err
    assert "Traceback" not in result.err


def test_splits_drawn_anew_widen_the_interval_that_is_printed(stored: Stored) -> None:
    """As in tests/analysis/test_evidence.py: 0.15 ± 0.09956."""
    resplit = Stored(RUNS, config_with(name="resplit", seeds=6, **{"data.split.resplit": True}))
    resplit.add("control", [0.5] * 6)
    resplit.add("dropout", [0.6, 0.7] * 3)
    (row,) = bdl("compare", "resplit", "--json", "--no-pictures").json["comparisons"]
    assert row["ci95"] == pytest.approx([0.05044, 0.24956], abs=1e-5)
    assert row["scope"] == "on new data of this kind"


def test_other_rows_are_told_loudly(judged: Stored) -> None:
    for seed, value in enumerate(VARIED):
        judged.add_run("dropout", seed, 0.5 + value, split="another")
    notes = bdl("compare", "judged:control", "judged:dropout", "--json", "--no-pictures").json["notes"]
    assert notes == [
        "NOT THE SAME ROWS: control and dropout were trained or scored on other data or another split. Their "
        "differences mix that with what the arms differ by."
    ]


@pytest.mark.usefixtures("other")
def test_seeds_without_a_partner_are_told() -> None:
    out = bdl("compare", "made-up:dropout", "other:dropout", "--no-pictures").out
    assert "Without a partner and not counted: seed 2 of made-up-" in out


# ---- for a pull request ----


def test_markdown_is_a_ranked_table_with_sentences(judged: Stored) -> None:
    lines = bdl("compare", "judged", "--markdown", "--no-pictures").out.splitlines()
    assert lines[0] == "**test accuracy** (higher is better)"
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == "| candidate | baseline | pairs | difference | 95 % interval | p (corrected) | verdict |"
    assert table[2] == "| dropout | control | 8 | +0.055 | +0.035 to +0.075 | 0.012 | helps |"
    assert table[3] == "| batch_norm | control | 8 | 0.000 | −0.001 to +0.001 | 1 | no practical difference |"
    assert table[4].startswith("| l2 | control | 8 | −0.055 |")
    said = [line for line in lines if line.startswith("* ")]
    assert [line.split()[1] for line in said] == ["dropout", "batch_norm", "l2"]
    assert all("Paired: same split" in line for line in said)


@pytest.mark.usefixtures("judged")
def test_markdown_of_history_files_claims_nothing() -> None:
    files = history("a|1.json", loss=[0.5]), history("b.json", loss=[0.25])
    lines = bdl("compare", *files, "--markdown", "--no-pictures").out.splitlines()
    assert lines[4] == "| b.json | a\\|1.json | 1 | −0.250 | – | – | – |"
    assert lines[-1] == "* A history file is one run, and no evidence: another seed can turn the difference round."


@pytest.mark.usefixtures("judged")
def test_json_and_markdown_at_once_are_refused() -> None:
    result = bdl("compare", "judged", "--json", "--markdown")
    assert (result.code, result.err) == (2, "bdl: expected one of --json and --markdown, found both\n")


# ---- gates ----


def gate(name: str, *words: object) -> tuple[int, str]:
    result = bdl("compare", *words, "--fail-if", name, "--no-pictures")
    assert result.out
    return result.code, result.err


@pytest.mark.parametrize(
    ("arm", "verdict", "closed"),
    [
        ("dropout", "helps", {"different"}),
        ("l2", "hurts", {"worse", "not-better", "different"}),
        ("batch_norm", "no practical difference", {"not-better"}),
    ],
)
@pytest.mark.parametrize("name", ["worse", "not-better", "different"])
@pytest.mark.usefixtures("judged")
def test_a_gate_closes_on_its_verdicts_alone(name: str, arm: str, verdict: str, closed: set[str]) -> None:
    expected = (3, f"bdl: --fail-if {name}: {arm}: {verdict}\n") if name in closed else (0, "")
    assert gate(name, "judged:control", f"judged:{arm}") == expected


@pytest.mark.parametrize(
    ("name", "code"), [("worse", 3), ("not-better", 3), ("different", 3)],
)  # fmt: skip
@pytest.mark.usefixtures("judged")
def test_effects_below_the_margin_are_effects(name: str, code: int) -> None:
    found, err = gate(name, "judged:control", "judged:l2", "--equivalence-margin", "0.2")
    assert (found, err) == (code, f"bdl: --fail-if {name}: l2: hurts, by less than theta\n")


@pytest.mark.usefixtures("judged")
def test_any_arm_closes_a_gate() -> None:
    assert gate("worse", "judged") == (3, "bdl: --fail-if worse: l2: hurts\n")
    assert gate("not-better", "judged") == (
        3,
        "bdl: --fail-if not-better: l2: hurts; batch_norm: no practical difference\n",
    )


@pytest.mark.parametrize(
    ("pairs", "sign", "verdict"),
    [(5, 1, "provisionally helps"), (5, -1, "provisionally hurts"), (4, -1, "too few seeds")],
)
def test_what_is_not_proven_is_neither_better_nor_worse(judged: Stored, pairs: int, sign: int, verdict: str) -> None:
    few = Stored(RUNS, config_with(name="few", seeds=5))
    few.add("control", [0.5] * pairs)
    few.add("dropout", [0.5 + sign * value for value in VARIED[:pairs]])
    assert gate("worse", "few") == gate("different", "few") == (0, "")
    assert gate("not-better", "few") == (3, f"bdl: --fail-if not-better: dropout: {verdict}\n")


@pytest.mark.usefixtures("judged")
def test_history_files_are_not_better() -> None:
    files = history("a.json", loss=[0.5]), history("b.json", loss=[0.25])
    assert gate("worse", *files) == gate("different", *files) == (0, "")
    assert gate("not-better", *files) == (3, "bdl: --fail-if not-better: b.json: not judged\n")


def test_an_a_a_arm_closes_no_gate(judged: Stored) -> None:
    control = Stored(RUNS, config_with(name="noise", seeds=8, aa=True))
    control.add("control", [0.5] * 8)
    control.add("dropout", [0.5 + value for value in VARIED])
    control.add("control-aa", [0.5 - value for value in VARIED])
    assert gate("worse", "noise") == gate("not-better", "noise") == (0, "")


@pytest.mark.usefixtures("judged")
def test_a_gate_leaves_the_json_whole() -> None:
    result = bdl("compare", "judged", "--fail-if", "worse", "--json", "--no-pictures")
    assert (result.code, len(result.json["comparisons"])) == (3, 3)


@pytest.mark.usefixtures("stored")
def test_a_candidate_that_no_longer_trains_closes_every_gate_and_its_failures_are_told() -> None:
    lost = Stored(RUNS, config_with(name="lost", seeds=8))
    lost.add("control", [0.8] * 8)
    for seed in range(8):
        lost.add_run("dropout", seed, None, diverged=1)
    for gate in ("worse", "not-better", "different"):
        result = bdl("compare", "lost", "--no-pictures", "--fail-if", gate)
        assert result.code == 3
        assert "dropout: fails or diverges more often than control" in result.err
    assert "Of 8 pairs, control failed or diverged in 0 and dropout in 8 (McNemar's test: p = 0.0078)." in result.out
