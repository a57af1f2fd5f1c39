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

from pydantic import ValidationError

from betterdl_cli import files
from betterdl_cli.config import yaml12
from betterdl_cli.config.experiment import Experiment
from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.expand import Arm
from betterdl_cli.history import History
from betterdl_cli.record import RunRecord

EXPERIMENT, PLAN, ENVIRONMENT, LOCK = "experiment.yaml", "plan.json", "environment.json", ".lock"
HISTORY, RECORD, LOG = "history.json", "run.json", "log.txt"
PLAN_SCHEMA = "bdl.plan/1"


@dataclass(frozen=True)
class StoredRun:
    """A run as read back; ``history`` is empty for a failed run."""

    record: RunRecord
    history: History


@dataclass(frozen=True)
class Plan:
    """``plan.json``: the arms and seeds of a stored experiment, and its primary metric."""

    name: str
    id: str
    metric: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    smoke: bool
    validation_is_test: bool

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

    @classmethod
    def holding(cls, path: pathlib.Path) -> ExperimentDirectory | None:
        """The experiment in this directory, or None."""
        return cls(path) if (path / PLAN).is_file() else None

    # ---- making ----

    def prepare(self, experiment: Experiment, arms: Sequence[Arm]) -> Plan:
        """Create the directory, or continue it when it holds the same experiment; seeds of before stay in the plan.

        Raises :class:`UsageError` when it holds anything else. Call with the lock held.
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
        seeds = tuple(dict.fromkeys([*(before.seeds if before else ()), *experiment.seeds]))
        plan = Plan(
            name=experiment.name,
            id=experiment.id,
            metric=experiment.metric,
            seeds=seeds,
            arms=tuple(arms),
            smoke=experiment.smoke,
            validation_is_test=experiment.data.split.validation == "test",
        )
        files.write_json(self.path / PLAN, _plan_to_json(plan))
        files.write_text(self.path / EXPERIMENT, yaml12.dump({**experiment.resolved, "seeds": list(seeds)}))
        for arm in arms:
            files.write_json(self.arm_path(arm.id) / "spec.json", {"schema": "bdl.spec/1", **arm.spec.to_json()})
        return plan

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out. Raises :class:`BdlError` naming the holder; a dead holder leaves no lock."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UsageError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                raise BdlError(f"{self.path} is in use by {holder}; wait for it or stop it") from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    # ---- runs ----

    def write_run(
        self, record: RunRecord, history: History, arrays: dict[str, dict[str, Any]] | None = None
    ) -> RunRecord:
        """Store a trained run; its record goes last and with digests, so that a torn run is never taken for whole."""
        folder = self.run_path(record.arm, record.seed)
        with contextlib.suppress(FileNotFoundError):
            (folder / RECORD).unlink()
        files.write_text(folder / HISTORY, json.dumps(history.to_mapping(), ensure_ascii=False, allow_nan=False) + "\n")
        for name, content in (arrays or {}).items():
            files.write_arrays(folder / f"{name}.npz", content)
        names = [HISTORY, *(f"{name}.npz" for name in arrays or {})]
        record = record.model_copy(update={"files": {name: files.digest(folder / name) for name in names}})
        self._write_record(record)
        with contextlib.suppress(FileNotFoundError):
            (folder / LOG).unlink()
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
        except (OSError, ValueError, ValidationError):
            return None

    def runs(self, plan: Plan) -> dict[str, dict[int, StoredRun]]:
        """All stored runs by arm and seed."""
        found = {arm.id: {seed: self.read_run(arm, seed) for seed in plan.seeds} for arm in plan.arms}
        return {arm: {seed: run for seed, run in runs.items() if run is not None} for arm, runs in found.items()}

    # ---- reading ----

    def plan(self) -> Plan:
        """Raises :class:`UsageError` when plan.json is not one of ours."""
        path = self.path / PLAN
        try:
            return _plan_from_json(files.read_json(path))
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise UsageError(
                f"{path}: expected the plan of an experiment ({PLAN_SCHEMA}), found something else: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
            ) from None

    def experiment_text(self) -> str:
        return (self.path / EXPERIMENT).read_text(encoding="utf-8")

    def remove(self) -> None:
        shutil.rmtree(self.path)


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    return {
        "schema": PLAN_SCHEMA,
        "name": plan.name,
        "id": plan.id,
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "smoke": plan.smoke,
        "validation_is_test": plan.validation_is_test,
        "arms": [
            {
                **json.loads(arm.model_dump_json()),
                "differences_in_words": [str(item) for item in arm.differences],
            }
            for arm in plan.arms
        ],
    }


def _plan_from_json(plain: dict[str, Any]) -> Plan:
    if plain["schema"] != PLAN_SCHEMA:
        raise ValueError(f"schema {plain['schema']}")
    arms = [{key: value for key, value in arm.items() if key != "differences_in_words"} for arm in plain["arms"]]
    return Plan(
        name=plain["name"],
        id=plain["id"],
        metric=plain["metric"],
        seeds=tuple(plain["seeds"]),
        arms=tuple(Arm.model_validate_json(json.dumps(arm)) for arm in arms),
        smoke=plain["smoke"],
        validation_is_test=plain["validation_is_test"],
    )


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
    if len(path.parents) > 2 and path.parents[1].name == "arms" and seed.isdigit():
        directory = ExperimentDirectory.holding(path.parents[2])
        return Place(directory, path.parent.name, int(seed)) if directory else None
    return None


def experiments(root: pathlib.Path) -> list[ExperimentDirectory]:
    """The experiments stored in a folder, by name."""
    if not root.is_dir():
        return []
    found = (ExperimentDirectory.holding(item) for item in sorted(root.iterdir()) if item.is_dir())
    return [directory for directory in found if directory is not None]
