"""The only place that knows the layout of ``runs/``: where each file lies, and what counts as whole."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, StrictInt, ValidationError

from betterdl_cli import files
from betterdl_cli.config import yaml12
from betterdl_cli.config.experiment import Experiment
from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.expand import Arm
from betterdl_cli.history import History
from betterdl_cli.record import Engine, RunRecord
from betterdl_cli.spec import Frozen

EXPERIMENT, PLAN, ENVIRONMENT, LOCK = "experiment.yaml", "plan.json", "environment.json", ".lock"
HISTORY, RECORD, LOG = "history.json", "run.json", "log.txt"
PLAN_SCHEMA = "bdl.plan/1"


@dataclass(frozen=True)
class StoredRun:
    """A run as read back; ``history`` is empty for a failed run."""

    record: RunRecord
    history: History


class EngineChoice(Frozen):
    """Which engine trains all arms. ``width``: seeds at once; ``reasons``: why arms keep it from ``vectorized``."""

    name: Engine
    width: StrictInt = 1
    reasons: dict[str, str] = {}


class Plan(Frozen):
    """``plan.json``: the arms and seeds of a stored experiment, its primary metric, and what trains it."""

    name: str
    id: str
    metric: str
    seeds: tuple[StrictInt, ...]
    arms: tuple[Arm, ...] = Field(min_length=1)
    smoke: bool
    validation_is_test: bool
    engine: EngineChoice | None = None

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.id == name)


class ExperimentDirectory:
    """One experiment on disk."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    @property
    def report(self) -> pathlib.Path:
        return self.path / "report"

    def arm_path(self, arm: str) -> pathlib.Path:
        return self.path / "arms" / arm

    def run_path(self, arm: str, seed: int) -> pathlib.Path:
        return self.arm_path(arm) / f"seed-{seed}"

    def checkpoint_path(self, arm: str, first_seed: int) -> pathlib.Path:
        """The state of a group of seeds in the middle of its training."""
        return self.arm_path(arm) / f".checkpoint-{first_seed}.npz"

    def remove_checkpoints(self) -> None:
        """Call when nothing is left to train: a group whose seeds changed leaves its state behind."""
        for path in (self.path / "arms").glob("*/.checkpoint-*"):
            path.unlink(missing_ok=True)

    @classmethod
    def holding(cls, path: pathlib.Path) -> ExperimentDirectory | None:
        """The experiment in this directory, or None."""
        try:
            return cls(path) if (path / PLAN).is_file() else None
        except OSError:  # a name too long for a file, a folder that may not be read
            return None

    # ---- making ----

    def plan_for(self, experiment: Experiment, arms: Sequence[Arm]) -> Plan:
        """The plan of an experiment in this directory, with the seeds of which a run is already stored. Writes nothing.

        Raises :class:`UsageError` when the directory holds anything else. Call with the lock held.
        """
        before = self.plan() if (self.path / PLAN).is_file() else None
        if before is not None and (before.id != experiment.id or before.smoke != experiment.smoke):
            raise UsageError(
                f"{self.path} holds another experiment: expected '{experiment.name}' with id {experiment.id}, found "
                f"'{before.name}' with id {before.id}. Choose another --out, or leave it out"
            )
        if before is not None:
            stored = {arm.id: arm.spec.digest for arm in before.arms}
            if changed := sorted(arm.id for arm in arms if stored.get(arm.id) != arm.spec.digest):
                raise UsageError(
                    f"{self.path} was made by a version of bdl that trains {', '.join(changed)} differently: "
                    "remove the directory or choose another --out"
                )
        elif foreign := sorted(item.name for item in self.path.iterdir() if not item.name.startswith(".")):
            raise UsageError(f"{self.path} is not an experiment directory: expected it to be empty, found {foreign[0]}")
        trained = [
            seed
            for seed in (before.seeds if before else ())
            if any((self.run_path(arm.id, seed) / RECORD).is_file() for arm in arms)
        ]
        return Plan(
            name=experiment.name,
            id=experiment.id,
            metric=experiment.metric,
            seeds=tuple(dict.fromkeys([*trained, *experiment.seeds])),
            arms=tuple(arms),
            smoke=experiment.smoke,
            validation_is_test=experiment.data.split.validation == "test",
            engine=before.engine if before else None,
        )

    def write_plan(self, plan: Plan, experiment: Experiment) -> None:
        """Create the directory's own files, or bring them up to date."""
        files.write_json(self.path / PLAN, _plan_to_json(plan))
        files.write_text(self.path / EXPERIMENT, yaml12.dump({**experiment.resolved, "seeds": list(plan.seeds)}))
        for arm in plan.arms:
            files.write_json(self.arm_path(arm.id) / "spec.json", {"schema": "bdl.spec/1", **arm.spec.to_json()})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out. Raises :class:`BdlError` naming the holder; a dead holder leaves no lock."""
        with contextlib.ExitStack() as resources:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = resources.enter_context((self.path / LOCK).open("a+b", buffering=0))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read(200).decode(errors="replace").strip() or "another process"
                raise BdlError(f"{self.path} is in use by {holder}; wait for it or stop it") from None
            except OSError as error:
                raise UsageError(f"cannot write to {self.path}: {files.reason(error, self.path)}") from error
            yield

    # ---- runs ----

    def write_run(
        self, record: RunRecord, history: History, arrays: dict[str, dict[str, Any]] | None = None
    ) -> RunRecord:
        """Store a trained run; its record goes last and with digests, so that a torn run is never taken for whole."""
        folder = self.run_path(record.arm, record.seed)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed or failed run left there
        files.write_text(folder / HISTORY, json.dumps(history.to_mapping(), ensure_ascii=False, allow_nan=False) + "\n")
        for name, content in (arrays or {}).items():
            files.write_arrays(folder / f"{name}.npz", content)
        names = [HISTORY, *(f"{name}.npz" for name in arrays or {})]
        record = record.model_copy(update={"files": {name: files.digest(folder / name) for name in names}})
        self._write_record(record)
        return record

    def write_failure(self, record: RunRecord, log: str) -> None:
        """Store that a run failed, with what its worker printed."""
        folder = self.run_path(record.arm, record.seed)
        files.write_text(folder / LOG, log)
        self._write_record(record)

    def _write_record(self, record: RunRecord) -> None:
        folder = self.run_path(record.arm, record.seed)
        files.write_json(folder / RECORD, json.loads(record.model_dump_json(by_alias=True)))

    def read_run(self, arm: Arm, seed: int) -> StoredRun | None:
        """A run of this very spec that is whole, or that failed; None when absent, torn or of another spec."""
        folder = self.run_path(arm.id, seed)
        try:
            record = RunRecord.model_validate_json((folder / RECORD).read_bytes())
            if (record.arm, record.seed, record.spec) != (arm.id, seed, arm.spec.digest):
                return None
            if not record.finished:
                return StoredRun(record, History({}))
            if HISTORY not in record.files or any(
                files.digest(folder / name) != expected for name, expected in record.files.items()
            ):
                return None
            return StoredRun(record, History.from_mapping(files.read_json(folder / HISTORY)))
        except (OSError, ValueError):
            return None

    def runs(self, plan: Plan) -> dict[str, dict[int, StoredRun]]:
        """All stored runs by arm and seed."""
        found = {arm.id: {seed: self.read_run(arm, seed) for seed in plan.seeds} for arm in plan.arms}
        return {arm: {seed: run for seed, run in runs.items() if run is not None} for arm, runs in found.items()}

    # ---- reading ----

    def count_runs(self) -> int:
        """How many runs left something here, whatever the plan says."""
        return len(list((self.path / "arms").glob("*/seed-*")))

    def plan(self) -> Plan:
        """Raises :class:`UsageError` when plan.json is not one of ours."""
        path = self.path / PLAN
        try:
            return _plan_from_json(files.read_json(path))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path}: expected the plan of an experiment ({PLAN_SCHEMA}), found something else: "
                f"{_first_fault(error)}"
            ) from None

    def experiment_text(self) -> str:
        return (self.path / EXPERIMENT).read_text(encoding="utf-8")

    def remove(self) -> None:
        """Raises :class:`BdlError` when something cannot be removed."""
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise BdlError(f"cannot remove {error.filename or self.path}: {error.strerror or error}") from error


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    plain = json.loads(plan.model_dump_json())
    for arm, item in zip(plan.arms, plain["arms"], strict=True):
        item["differences_in_words"] = [str(difference) for difference in arm.differences]
    return {"schema": PLAN_SCHEMA, **plain}


def _plan_from_json(plain: Any) -> Plan:
    if not isinstance(plain, dict) or plain.pop("schema", None) != PLAN_SCHEMA:
        raise ValueError(f"no schema {PLAN_SCHEMA}")
    arms = plain.get("arms")
    for arm in arms if isinstance(arms, list) else ():
        if isinstance(arm, dict):
            arm.pop("differences_in_words", None)
    return Plan.model_validate_json(json.dumps(plain))


def _first_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)


@dataclass(frozen=True)
class Place:
    """What a directory is: an experiment, or one arm of it, or one run of that arm."""

    directory: ExperimentDirectory
    arm: str | None = None
    seed: int | None = None


def locate(path: pathlib.Path) -> Place | None:
    """What of ours lies at a path, or None."""
    if directory := ExperimentDirectory.holding(path):
        return Place(directory)
    path = path.resolve()
    if path.parent.name == "arms" and (directory := ExperimentDirectory.holding(path.parents[1])):
        return Place(directory, path.name)
    seed = path.name.removeprefix("seed-")
    if len(path.parents) > 2 and path.parents[1].name == "arms" and seed.isdecimal():
        directory = ExperimentDirectory.holding(path.parents[2])
        return Place(directory, path.parent.name, int(seed)) if directory else None
    return None


def experiments(root: pathlib.Path) -> list[ExperimentDirectory]:
    """The experiments stored in a folder, by name."""
    if not root.is_dir():
        return []
    found = (ExperimentDirectory.holding(item) for item in sorted(root.iterdir()) if item.is_dir())
    return [directory for directory in found if directory is not None]
