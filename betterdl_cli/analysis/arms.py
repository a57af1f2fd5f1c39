"""One arm with all that is known of it: what summaries and comparisons are computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.config.experiment import Use
from betterdl_cli.expand import Arm
from betterdl_cli.history import History
from betterdl_cli.record import RunRecord
from betterdl_cli.spec import ArmSpec
from betterdl_cli.store import StoredRun

NO_SEED = -1  # of a history file: nobody knows its seed
PARTS = {"test": "test", "val": "validation", "train": "train"}


@dataclass(frozen=True)
class ArmData:
    """Histories by seed, and for our own runs their records, the spec and the techniques on top of the control.

    ``label`` is the name to show; a bare history file has neither spec nor records, and :data:`NO_SEED`.
    """

    label: str
    histories: Mapping[int, History]
    records: Mapping[int, RunRecord] = field(default_factory=dict)
    arm: Arm | None = None
    control: ArmSpec | None = None

    @classmethod
    def of_runs(cls, label: str, arm: Arm, control: ArmSpec, runs: Mapping[int, StoredRun]) -> ArmData:
        return cls(
            label=label,
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
    def diverged(self) -> dict[int, int]:
        """Seed to epoch of divergence."""
        return {s: r.diverged_epoch for s, r in self.records.items() if r.diverged_epoch is not None}

    @property
    def failed(self) -> dict[int, str]:
        """Seed to what went wrong."""
        return {s: r.error or "" for s, r in self.records.items() if not r.finished}

    def score(self, seed: int, metric: str, *, best: bool = False) -> float | None:
        """A final score such as ``test_accuracy`` of one run, or that of its best epoch.

        Of a bare history: its last value. None when there is none, or when the run diverged or failed.
        """
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
