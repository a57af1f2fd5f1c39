"""How a training goes on, on standard error: a bar on a terminal, one line per finished run elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from betterdl_cli.record import RunRecord
from betterdl_cli.report.numbers import metric_words, number, seconds
from betterdl_cli.report.table import console

if TYPE_CHECKING:
    from betterdl_cli.expand import Arm
    from betterdl_cli.training.units import Unit


def run_line(record: RunRecord, metric: str) -> str:
    """One finished run in one line."""
    who = f"{record.arm}, seed {record.seed}"
    if record.status == "failed":
        return f"{who}: FAILED: {record.error}"
    if record.status == "diverged":
        return f"{who}: diverged at epoch {record.diverged_epoch} ({seconds(record.seconds)} s)"
    part, _, name = metric.partition("_")
    value = record.scores.get("validation" if part == "val" else part, {}).get(name)
    epochs = "1 epoch" if record.epochs == 1 else f"{record.epochs} epochs"
    stopped = ", stopped early" if record.stopped_early else ""
    return f"{who}: {metric_words(metric)} {number(value)} after {epochs}{stopped} ({seconds(record.seconds)} s)"


class Progress:
    """A :class:`betterdl_cli.training.conduct.Listener`. Use as a context manager."""

    def __init__(self, metric: str, *, quiet: bool = False) -> None:
        self._metric, self._quiet = metric, quiet
        self._console = console(stderr=True)
        self._bar: Any = None
        self._task: Any = None
        self._before = 0  # runs that ended in an earlier round
        self._lengths: dict[tuple[str, int], int] = {}  # epochs of every run, by arm and seed
        self._done: dict[tuple[str, int], int] = {}
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
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def preparing(self) -> None:
        self._describe("compiling")

    def begin(self, todo: Sequence[tuple[int, Arm]]) -> None:
        self._before, self._done = len(self.records), {}
        self._lengths = {(arm.id, seed): arm.spec.training.epochs for seed, arm in todo}
        if self._bar is not None:
            self._bar.reset(self._task, total=sum(self._lengths.values()))

    def unit_begins(self, unit: Unit) -> None:
        arm, seeds = unit
        first = len(self.records) - self._before + 1
        which = f"run {first}" if len(seeds) == 1 else f"runs {first}–{first + len(seeds) - 1}"
        who = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds at once"
        self._describe(f"{which} of {len(self._lengths)}: {arm.id}, {who}")

    def epochs_done(self, unit: Unit, epochs: int) -> None:
        """``epochs`` of every run of the unit."""
        self._advance({(unit[0].id, seed): epochs for seed in unit[1]})

    def run_ends(self, record: RunRecord) -> None:
        run = record.arm, record.seed
        self.records.append(record)
        self._advance({run: self._lengths[run]})  # it may have stopped early: its share of the bar is done
        if not self._quiet:
            line = f"[{len(self.records) - self._before}/{len(self._lengths)}] {run_line(record, self._metric)}"
            self._console.print(line, markup=False)

    def _describe(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=text)

    def _advance(self, done: dict[tuple[str, int], int]) -> None:
        self._done |= done
        if self._bar is not None:
            self._bar.update(self._task, completed=sum(self._done.values()))
