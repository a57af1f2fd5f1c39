"""How a training goes on, on standard error: a bar on a terminal, one line per finished run elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from betterdl_cli.record import RunRecord
from betterdl_cli.report.table import console, metric_words, number


def run_line(record: RunRecord, metric: str) -> str:
    """One finished run in one line."""
    who = f"{record.arm}, seed {record.seed}"
    if record.status == "failed":
        return f"{who}: FAILED: {record.error}"
    if record.status == "diverged":
        return f"{who}: diverged at epoch {record.diverged_epoch} ({record.seconds:.1f} s)"
    part, _, name = metric.partition("_")
    value = record.scores.get("validation" if part == "val" else part, {}).get(name)
    epochs = "1 epoch" if record.epochs == 1 else f"{record.epochs} epochs"
    stopped = ", stopped early" if record.stopped_early else ""
    return f"{who}: {metric_words(metric)} {number(value)} after {epochs}{stopped} ({record.seconds:.1f} s)"


class Progress:
    """A :class:`betterdl_cli.training.conduct.Listener`. Use as a context manager."""

    def __init__(self, metric: str, *, quiet: bool = False) -> None:
        self._metric, self._quiet = metric, quiet
        self._console = console(stderr=True)
        self._bar: Any = None
        self._runs = self._ended = self._epochs_before = self._epochs_of_run = 0
        self._seeds = 1
        self._task: Any = None
        self.records: list[RunRecord] = []

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            from rich import progress

            times = [
                progress.TimeElapsedColumn(),
                progress.TextColumn("left"),
                progress.TimeRemainingColumn(),
            ]
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                *(times if self._console.width >= 80 else []),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting TensorFlow", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, runs: int, epochs: int) -> None:
        self._runs = runs
        if self._bar is not None:
            self._bar.reset(self._task, total=epochs)

    def run_begins(self, arm: str, seed: int, epochs: int) -> None:
        self._epochs_of_run = epochs
        if self._bar is not None:
            self._bar.update(self._task, description=f"run {self._ended + 1}/{self._runs}: {arm}, seed {seed}")

        self._seeds = 1

    def group_begins(self, arm: str, seeds: Sequence[int], epochs: int) -> None:
        self._epochs_of_run, self._seeds = epochs, len(seeds)
        if self._bar is not None:
            text = (
                f"runs {self._ended + 1}–{self._ended + len(seeds)} of {self._runs}: {arm}, {len(seeds)} seeds at once"
            )
            self._bar.update(self._task, description=text)

    def epochs_done(self, epochs: int) -> None:
        """``epochs`` of the run, or of every run of the group."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._epochs_before + epochs * self._seeds)

    def run_ends(self, record: RunRecord) -> None:
        self.records.append(record)
        self._ended += 1
        self._epochs_before += self._epochs_of_run
        if self._bar is not None:
            self._bar.update(self._task, completed=self._epochs_before)
        if not self._quiet:
            self._console.print(f"[{self._ended}/{self._runs}] {run_line(record, self._metric)}", markup=False)
