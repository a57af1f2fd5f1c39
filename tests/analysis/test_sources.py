import datetime
import json
import os
import pathlib
import re

import pytest
from stored import Stored, config_with

from betterdl_cli.analysis.arms import NO_SEED
from betterdl_cli.analysis.sources import distinctions, find_experiment, resolve
from betterdl_cli.errors import UsageError
from betterdl_cli.store import experiments


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    stored = Stored(pathlib.Path("runs"))
    stored.add("control", [0.8, 0.7])
    stored.add("dropout", [0.9, 0.6])
    return stored


RUNS = pathlib.Path("runs")


# ---- experiments by name ----


@pytest.mark.parametrize("word", ["made-up", "made", "m"])
def test_a_name_or_a_unique_prefix_is_enough(stored: Stored, word: str) -> None:
    assert find_experiment(word, RUNS).path == stored.path


def test_the_name_of_the_directory_and_its_path_are_enough(stored: Stored) -> None:
    assert find_experiment(stored.name, RUNS).path == stored.path
    assert find_experiment(f"runs/{stored.name}/", RUNS).path == stored.path


def test_an_exact_name_wins_over_longer_ones_with_that_beginning(stored: Stored) -> None:
    Stored(RUNS, config_with(name="made-up-more"))
    assert find_experiment("made-up", RUNS).path == stored.path


def test_a_smoke_run_is_not_what_a_name_means(stored: Stored) -> None:
    smoke = Stored(RUNS, smoke=True)
    assert find_experiment("made-up", RUNS).path == stored.path
    assert find_experiment("made-up-smoke", RUNS).path == smoke.path


def test_an_ambiguous_name_lists_what_it_could_mean_and_what_differs(stored: Stored) -> None:
    other = Stored(RUNS, config_with(seeds=5, **{"training.epochs": 9}))
    for directory, hour in ((stored.path, 8), (other.path, 9)):
        changed = datetime.datetime(2026, 5, 1, hour, 30).timestamp()
        os.utime(directory / "plan.json", (changed, changed))
    lines = [
        f"{stored.name}  2026-05-01 08:30  training.epochs=3, seeds=3",
        f"{other.name}  2026-05-01 09:30  training.epochs=9, seeds=5",
    ]
    for word in ("made-up", "ma"):
        with pytest.raises(UsageError) as caught:
            find_experiment(word, RUNS)
        assert str(caught.value).splitlines() == [
            f"'{word}' names 2 experiments in runs; say which one, the beginning of its name or id that no other one "
            "has is enough:",
            *(f"  {line}" for line in sorted(lines)),
        ]


def test_experiments_of_one_name_are_told_by_their_ids(stored: Stored) -> None:
    other = Stored(RUNS, config_with(**{"training.epochs": 9}))
    for one in (stored, other):
        for word in (f"made-up-{one.plan.id[:6]}", one.plan.id[:6], one.plan.id):
            assert find_experiment(word, RUNS).path == one.path
    assert resolve(f"{other.plan.id[:6]}:control", RUNS).plan == other.plan


def test_a_config_that_cannot_be_read_tells_nothing(stored: Stored) -> None:
    other = Stored(RUNS, config_with(**{"training.epochs": 9}))
    (stored.path / "experiment.yaml").write_text("{")
    (stored.path / "plan.json").unlink()
    facts = distinctions([stored.directory, other.directory])
    assert facts[stored.path] == ""
    assert "=" not in facts[other.path]


def test_only_the_first_differences_are_listed(stored: Stored) -> None:
    Stored(RUNS, config_with(techniques={"l2": {}}, seeds=9, **{"model.hidden": [9], "training": {}}))
    assert re.search(r"(, .*){3} and \d+ more$", distinctions(experiments(RUNS))[stored.path])


def test_an_unknown_name_gets_a_suggestion(stored: Stored) -> None:
    with pytest.raises(UsageError, match=rf"nothing called 'made-op-.*' in runs \(did you mean '{stored.name}'\?\)"):
        find_experiment(stored.name.replace("up", "op"), RUNS)


def test_a_misspelt_name_gets_the_name_not_the_ids(stored: Stored) -> None:
    with pytest.raises(UsageError, match=r"\(did you mean 'made-up'\?\)"):
        find_experiment("mdae-up", RUNS)


def test_what_was_expected_is_what_the_command_takes(stored: Stored) -> None:
    with pytest.raises(UsageError, match=r"^expected an experiment, found nothing called 'zzz'"):
        find_experiment("zzz", RUNS)
    with pytest.raises(UsageError, match=r"^expected an experiment, an arm, a run or a history file, found"):
        resolve("zzz", RUNS)
    with pytest.raises(UsageError, match=r"^expected a config, found nothing called 'zzz'"):
        resolve("zzz:control", RUNS, "a config")


def test_a_name_unlike_any_lists_what_is_there(stored: Stored) -> None:
    with pytest.raises(UsageError, match=f"nothing called 'zzz' in runs; stored there: {stored.name}$"):
        find_experiment("zzz", RUNS)
    with pytest.raises(UsageError, match=r"in nowhere; stored there: nothing$"):
        find_experiment("zzz", pathlib.Path("nowhere"))


@pytest.mark.usefixtures("stored")
def test_an_empty_name_is_not_the_only_experiment() -> None:
    with pytest.raises(UsageError, match="expected the name of an experiment, found an empty one"):
        find_experiment("", RUNS)
    with pytest.raises(UsageError, match="found an empty one"):
        resolve(":control", RUNS)


@pytest.mark.usefixtures("stored")
def test_a_name_too_long_for_a_file_is_one_message() -> None:
    with pytest.raises(UsageError, match="nothing called 'xxx"):
        resolve("x" * 5000, RUNS)


def test_a_broken_neighbour_does_not_matter(stored: Stored) -> None:
    broken = Stored(RUNS, config_with(name="broken"))
    (broken.path / "plan.json").write_text("{}")
    assert find_experiment("made-up", RUNS).path == stored.path
    assert find_experiment("broken", RUNS).path == broken.path
    with pytest.raises(UsageError, match=r"plan\.json is damaged: expected the plan"):
        resolve("broken", RUNS)


# ---- what else a word can mean ----


def test_an_experiment_has_all_its_arms(stored: Stored) -> None:
    source = resolve("made-up", RUNS)
    assert (source.label, list(source.arms), source.single) == (stored.name, ["control", "dropout"], False)
    assert source.arms["control"].label == f"{stored.name}:control"


@pytest.mark.parametrize("word", ["made-up:dropout", "made-up:drop", "runs/{name}:dropout", "runs/{name}/arms/dropout"])
def test_one_arm(stored: Stored, word: str) -> None:
    source = resolve(word.format(name=stored.name), RUNS)
    assert (source.label, source.single) == (f"{stored.name}:dropout", True)
    assert source.arms["dropout"].scores("test_accuracy") == {0: 0.9, 1: 0.6}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("word", "hint"), [("dropuot", r" \(did you mean 'dropout'\?\)"), ("", ""), ("zzz", "")])
def test_an_unknown_arm_lists_the_arms(word: str, hint: str) -> None:
    with pytest.raises(
        UsageError, match=rf"expected an arm of made-up-\w+ \(control, dropout\), found '{word}'{hint}$"
    ):
        resolve(f"made-up:{word}", RUNS)


def test_one_run(stored: Stored) -> None:
    source = resolve(str(stored.directory.run_path("dropout", 1)), RUNS)
    assert source.label == f"{stored.name}:dropout, seed 1"
    assert source.arms["dropout"].scores("test_accuracy") == {1: 0.6}


def test_a_run_that_is_not_whole_says_so(stored: Stored) -> None:
    folder = stored.directory.run_path("dropout", 1)
    (folder / "history.json").unlink()
    with pytest.raises(
        UsageError,
        match=r"seed-1: expected the whole run of a planned seed \(dropout has seed 0\), found a file that was cut",
    ):
        resolve(str(folder), RUNS)


def test_a_directory_of_an_arm_that_is_not_in_the_plan_says_so(stored: Stored) -> None:
    (stored.path / "arms" / "stranger").mkdir()
    with pytest.raises(UsageError, match=r"its plan has no arm 'stranger' \(it has control, dropout\)"):
        resolve(str(stored.path / "arms" / "stranger"), RUNS)


@pytest.mark.usefixtures("stored")
def test_a_history_file_is_one_arm_without_a_seed() -> None:
    pathlib.Path("mine.json").write_text(json.dumps({"loss": [0.5, 0.25]}))
    source = resolve("mine.json", RUNS)
    assert (source.label, source.plan, source.single) == ("mine.json", None, True)
    assert source.arms["mine"].scores("loss") == {NO_SEED: 0.25}
    assert source.arms["mine"].arm is None


@pytest.mark.usefixtures("stored")
def test_a_directory_of_something_else_is_one_message() -> None:
    pathlib.Path("empty").mkdir()
    with pytest.raises(UsageError, match="nothing called 'empty' in runs"):
        resolve("empty", RUNS)


@pytest.mark.usefixtures("stored")
def test_a_file_with_a_colon_in_its_name_is_a_file() -> None:
    pathlib.Path("made-up:control").write_text("loss,acc\n1,2\n")
    assert resolve("made-up:control", RUNS).plan is None
