from typing import Any

import pytest

from betterdl_cli.record import RunRecord
from betterdl_cli.report.progress import Progress, run_line


def record(**changes: Any) -> RunRecord:
    fields = {
        "arm": "dropout", "seed": 3, "spec": "0", "status": "completed", "epochs": 300, "seconds": 12.34,
        "scores": {"test": {"accuracy": 0.8344}, "validation": {"accuracy": 0.7}},
    }  # fmt: skip
    return RunRecord(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "metric", "line"),
    [
        ({}, "test_accuracy", "dropout, seed 3: test accuracy 0.834 after 300 epochs (12.3 s)"),
        ({}, "val_accuracy", "dropout, seed 3: validation accuracy 0.700 after 300 epochs (12.3 s)"),
        (
            {"stopped_early": True, "epochs": 1},
            "test_accuracy",
            "dropout, seed 3: test accuracy 0.834 after 1 epoch, stopped early (12.3 s)",
        ),
        ({"status": "diverged", "diverged_epoch": 7}, "test_accuracy", "dropout, seed 3: diverged at epoch 7 (12.3 s)"),
        ({"status": "failed", "error": "no memory"}, "test_accuracy", "dropout, seed 3: FAILED: no memory"),
    ],
)
def test_a_run_in_one_line(changes: dict[str, Any], metric: str, line: str) -> None:
    assert run_line(record(**changes), metric) == line


def test_without_a_terminal_there_is_one_line_per_run_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("test_accuracy") as progress:
        progress.begin(2, 600)
        for seed in (0, 1):
            progress.run_begins("dropout", seed, 300)
            progress.epochs_done(150)
            progress.run_ends(record(seed=seed, arm="[red]drop[/x]"))
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        f"[{n}/2] [red]drop[/x], seed {n - 1}: test accuracy 0.834 after 300 epochs (12.3 s)" for n in (1, 2)
    ]


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("test_accuracy", quiet=True) as progress:
        progress.begin(1, 300)
        progress.run_begins("dropout", 0, 300)
        progress.run_ends(record())
    assert capsys.readouterr() == ("", "")
    assert [item.seed for item in progress.records] == [3]


def test_on_a_terminal_a_bar_shows_the_run_and_all_epochs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress("test_accuracy") as progress:
        progress.begin(2, 600)
        progress.run_begins("control", 0, 300)
        progress.epochs_done(150)
        progress._bar.refresh()
        task = progress._bar.tasks[0]
        assert (task.total, task.completed) == (600, 150)
        progress.run_ends(record())  # it may have stopped early: its share of the bar is done
        assert (task.completed, task.description) == (300, "run 1/2: control, seed 0")
    assert "run 1/2: control, seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "columns"), [(40, 3), (80, 6)])
def test_a_narrow_terminal_shows_no_times_instead_of_cut_ones(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    with Progress("test_accuracy") as progress:
        assert len(progress._bar.columns) == columns
