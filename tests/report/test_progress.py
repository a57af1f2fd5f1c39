from types import SimpleNamespace
from typing import Any

import pytest

from betterdl_cli.record import RunRecord
from betterdl_cli.report.progress import Progress, run_line


def named(name: str) -> Any:
    """All that a bar knows of an arm."""
    return SimpleNamespace(id=name, spec=SimpleNamespace(training=SimpleNamespace(epochs=300)))


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
        arm = named("[red]drop[/x]")
        progress.begin([(0, arm), (1, arm)])
        for seed in (0, 1):
            progress.unit_begins((arm, (seed,)))
            progress.epochs_done((arm, (seed,)), 150)
            progress.run_ends(record(seed=seed, arm=arm.id))
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        f"[{n}/2] [red]drop[/x], seed {n - 1}: test accuracy 0.834 after 300 epochs (12.3 s)" for n in (1, 2)
    ]


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("test_accuracy", quiet=True) as progress:
        arm = named("dropout")
        progress.begin([(3, arm)])
        progress.unit_begins((arm, (3,)))
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
        arm = named("control")
        progress.begin([(0, arm), (1, arm)])
        progress.unit_begins((arm, (0,)))
        progress.epochs_done((arm, (0,)), 150)
        progress._bar.refresh()
        task = progress._bar.tasks[0]
        assert (task.total, task.completed) == (600, 150)
        progress.run_ends(record(arm="control", seed=0))  # it may have stopped early: its share of the bar is done
        assert (task.completed, task.description) == (300, "run 1 of 2: control, seed 0")
        progress.unit_begins((arm, (1,)))
        assert task.description == "run 2 of 2: control, seed 1"
    assert "run 1 of 2: control, seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "columns"), [(40, 3), (80, 6)])
def test_a_narrow_terminal_shows_no_times_instead_of_cut_ones(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    with Progress("test_accuracy") as progress:
        assert len(progress._bar.columns) == columns
