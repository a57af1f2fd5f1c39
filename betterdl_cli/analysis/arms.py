"""One arm with all that is known of it: what summaries and comparisons are computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.config.experiment import Use
from betterdl_cli.expand import Arm
from betterdl_cli.history import History, assumed_reference, diverged_at
from betterdl_cli.record import RunRecord
from betterdl_cli.spec import ArmSpec
from betterdl_cli.store import StoredRun

NO_SEED = -1  # key of a history file, whose seed nobody knows; never leaves the program
PARTS = {"test": "test", "val": "validation", "train": "train"}


@dataclass(frozen=True)
class ArmData:
    """Histories by seed, and for our own runs their records, the spec and the techniques on top of the control.

    ``label`` is the name to show; a bare history file has neither spec nor records, and :data:`NO_SEED`. Seeds that
    were planned and have no run are ``missing``; those of which something is stored that is no whole run of this
    spec are ``unreadable``.
    """

    label: str
    histories: Mapping[int, History]
    records: Mapping[int, RunRecord] = field(default_factory=dict)
    arm: Arm | None = None
    control: ArmSpec | None = None
    missing: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()

    @classmethod
    def of_runs(
        cls,
        label: str,
        arm: Arm,
        control: ArmSpec,
        runs: Mapping[int, StoredRun],
        missing: tuple[int, ...] = (),
        unreadable: tuple[int, ...] = (),
    ) -> ArmData:
        return cls(
            label=label,
            missing=missing,
            unreadable=unreadable,
            histories={seed: run.history for seed, run in runs.items() if run.record.finished},
            records={seed: run.record for seed, run in runs.items()},
            arm=arm,
            control=control,
        )

    @property
    def name(self) -> str:
        return self.arm.id if self.arm else self.label

    @property
    def techniques(self) -> tuple[Use, ...]:
        return self.arm.techniques if self.arm else ()

    @property
    def is_file(self) -> bool:
        """Whether this is a bare history file."""
        return self.arm is None

    @property
    def planned(self) -> int:
        """How many runs there should be."""
        return len(set(self.histories) | set(self.records) | set(self.missing) | set(self.unreadable))

    @cached_property
    def diverged(self) -> dict[int, int]:
        """Seed to epoch of divergence."""
        epochs = {seed: record.diverged_epoch for seed, record in self.records.items()}
        for seed in set(self.histories) - set(self.records):
            history = self.histories[seed]
            epochs[seed] = diverged_at(history["loss"], assumed_reference(history)) if "loss" in history else None
        return {seed: epoch for seed, epoch in sorted(epochs.items()) if epoch is not None}

    @property
    def failed(self) -> dict[int, str]:
        """Seed to what went wrong."""
        return {s: r.error or "" for s, r in self.records.items() if not r.finished}

    def score(self, seed: int, metric: str, *, best: bool = False) -> float | None:
        """A final score such as ``test_accuracy`` of one run, or that of its best epoch.

        Of a bare history: its last value. None when there is none, or when the run diverged or failed.
        """
        if seed in self.diverged:
            return None
        record = self.records.get(seed)
        if record is None:
            series = self.histories[seed].metrics.get(metric.removeprefix("train_"))
            value = math.nan if series is None or not len(series) else float(series[-1])
            return value if math.isfinite(value) else None
        if record.status != "completed":
            return None
        part, _, name = metric.partition("_")
        scores = (record.best.scores if record.best else {}) if best else record.scores
        return scores.get(PARTS.get(part, part), {}).get(name)

    def scores(self, metric: str, *, best: bool = False) -> dict[int, float]:
        """Seed to score, of all runs that have one."""
        found = {seed: self.score(seed, metric, best=best) for seed in sorted(self.histories)}
        return {seed: value for seed, value in found.items() if value is not None}

    def to_histories(self, name: str | None = None) -> ArmHistories:
        """What pictures are drawn from."""
        penalised = any(record.penalised for record in self.records.values())
        return ArmHistories(name or self.name, dict(self.histories), self.diverged, penalised)
