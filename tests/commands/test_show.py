import json
import pathlib

import pytest
from rich.console import Console
from shell import bdl
from stored import Stored

from betterdl_cli.report import table

RUNS = pathlib.Path("runs")


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    stored = Stored(RUNS)
    stored.add("control", [0.8, 0.7, 0.9])
    stored.add("dropout", [0.85, 0.8, 0.7])
    return stored


def test_a_whole_experiment_lacks_nothing(stored: Stored) -> None:
    result = bdl("show", "made-up")
    assert (result.code, result.err) == (0, "")
    assert "lost" not in result.out
    assert result.out.splitlines()[-1] == f"directory: {stored.path}"
    assert bdl("show", "made-up", "--json").json["missing"] == []


def test_lost_runs_are_named_with_arm_and_seed(stored: Stored) -> None:
    (stored.directory.run_path("control", 1) / "run.json").unlink()
    history = stored.directory.run_path("dropout", 2) / "history.json"
    history.write_bytes(history.read_bytes()[:30])
    result = bdl("show", "made-up")
    assert result.code == 0
    assert result.out.splitlines()[-4:-1] == [
        "control: seed 1 is lost: run.json is missing",
        "dropout: seed 2 is lost: history.json is damaged",
        "bdl run with the same config trains what is missing: 2 runs.",
    ]
    assert bdl("show", "made-up", "--json").json["missing"] == [
        {"arm": "control", "seed": 1, "reason": "run.json is missing"},
        {"arm": "dropout", "seed": 2, "reason": "history.json is damaged"},
    ]


@pytest.mark.usefixtures("stored")
def test_a_narrow_terminal_breaks_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "console", lambda: Console(width=40, highlight=False))
    *lines, directory = bdl("show", "made-up").out.splitlines()
    assert max(map(len, lines)) <= 40
    assert "dropout: + layers.hidden_1_dropout:  Dropout(rate=0.2) after hidden_1" in " ".join(lines)
    assert directory.startswith("directory: runs/made-up-")  # to be copied


def test_runs_that_were_never_trained_are_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = Stored(RUNS)
    stored.add("control", [0.8, 0.7, 0.9])
    stored.add("dropout", [0.8, 0.7])
    assert bdl("show", "made-up").out.splitlines()[-3:-1] == [
        "dropout: not trained yet: seed 2",
        "bdl run with the same config trains what is missing: 1 run.",
    ]


def test_a_damaged_plan_is_one_message_that_says_how_to_mend_it(stored: Stored) -> None:
    (stored.path / "plan.json").write_text('{"schema": "bdl.pl')
    result = bdl("show", stored.name)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"bdl: {stored.path}/plan.json is damaged: expected the plan of an experiment, found something else than JSON, "
        "or only its beginning. bdl run with the same config mends it and keeps the finished runs\n"
    )


@pytest.mark.usefixtures("stored")
def test_an_unknown_name_says_what_show_takes() -> None:
    result = bdl("show", "zzz")
    assert result.code == 2
    assert result.err.startswith(
        "bdl: expected a config file, an experiment or EXPERIMENT:ARM, found nothing called 'zzz'"
    )


@pytest.mark.usefixtures("stored")
def test_an_arm_is_shown_as_its_spec() -> None:
    document = bdl("show", "made-up:dropout").json
    assert document["schema"] == "bdl.spec/1"
    assert json.dumps(document).count("Dropout") == 1
