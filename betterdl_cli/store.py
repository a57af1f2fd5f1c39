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
from betterdl_cli.config.experiment import AUTO, Experiment, Judging
from betterdl_cli.errors import BdlError, UsageError, printable, shortened
from betterdl_cli.expand import Arm
from betterdl_cli.history import History
from betterdl_cli.record import Engine, RunRecord
from betterdl_cli.spec import ArmSpec, Frozen

EXPERIMENT, PLAN, ENVIRONMENT, LOCK = "experiment.yaml", "plan.json", "environment.json", ".lock"
ARMS, SPEC = "arms", "spec.json"
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
    judging: Judging = Judging()

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.id == name)


class DamagedError(UsageError):
    """The plan of an experiment cannot be read; running its config again writes it anew."""

    def __init__(self, path: pathlib.Path, found: str) -> None:
        self.path, self.found = path, found
        super().__init__(
            f"{path} is damaged: expected the plan of an experiment, found {found}. "
            "bdl run with the same config mends it and keeps the finished runs"
        )


class ExperimentDirectory:
    """One experiment on disk."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    @property
    def report(self) -> pathlib.Path:
        return self.path / "report"

    def arm_path(self, arm: str) -> pathlib.Path:
        return self.path / ARMS / arm

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
        """The experiment in this directory, even one that lost its plan, or None."""
        try:
            ours = (path / PLAN).is_file() or ((path / EXPERIMENT).is_file() and (path / ARMS).is_dir())
        except OSError:  # a name too long for a file, a folder that may not be read
            return None
        return cls(path) if ours else None

    # ---- making ----

    def plan_for(self, experiment: Experiment, arms: Sequence[Arm]) -> Plan:
        """The plan of an experiment in this directory, with the seeds of which a run is already stored. Writes nothing.

        Raises :class:`UsageError` when the directory holds anything else. Call with the lock held.
        """
        engine = None
        try:
            before = self.plan()
        except DamagedError as damage:
            self._refuse_strangers(experiment, arms, damage)
            trained = self._seeds_with_runs(arms)
        else:
            self._refuse_another(experiment, arms, before)
            trained = [seed for seed in before.seeds if seed in self._seeds_with_runs(arms)]
            engine = before.engine
        return Plan(
            name=experiment.name,
            id=experiment.id,
            metric=experiment.metric,
            seeds=tuple(dict.fromkeys([*trained, *experiment.seeds])),
            arms=tuple(arms),
            smoke=experiment.smoke,
            validation_is_test=experiment.data.split.validation == "test",
            engine=engine,
            judging=experiment.judging,
        )

    def _refuse_another(self, experiment: Experiment, arms: Sequence[Arm], before: Plan) -> None:
        if before.id != experiment.id or before.smoke != experiment.smoke:
            raise UsageError(
                f"{self.path} holds another experiment: expected '{experiment.name}' with id {experiment.id}, found "
                f"'{before.name}' with id {before.id}. Choose another --out, or leave it out"
            )
        stored = {arm.id: arm.spec.digest for arm in before.arms}
        if changed := sorted(arm.id for arm in arms if stored.get(arm.id) != arm.spec.digest):
            raise UsageError(
                f"{self.path} was made by a version of bdl that trains {', '.join(changed)} differently: "
                "remove the directory or choose another --out"
            )

    def _refuse_strangers(self, experiment: Experiment, arms: Sequence[Arm], damage: DamagedError) -> None:
        """Without a plan, the directory must be empty, or its specs those of the experiment."""
        names = sorted(item.name for item in self.path.iterdir() if not item.name.startswith("."))
        if not names:
            return
        if self.holding(self.path) is None:
            raise UsageError(f"{self.path} is not an experiment directory: expected it to be empty, found {names[0]}")
        ours = {arm.id: arm.spec.digest for arm in arms}
        stored = {path.parent.name: _spec_digest(path) for path in sorted(self.path.glob(f"{ARMS}/*/{SPEC}"))}
        found = {arm: digest for arm, digest in stored.items() if digest is not None}
        named = self.path.absolute().name.endswith(f"-{experiment.id}")
        if not (found.items() <= ours.items() if named else found == ours):
            raise UsageError(
                f"{damage.path} is damaged ({damage.found}), and the arms in {self.path} are not all those of "
                f"'{experiment.name}' as this config and this version of bdl train them: run the config that made "
                "them, choose another --out, or remove the directory"
            ) from None

    def _seeds_with_runs(self, arms: Sequence[Arm]) -> list[int]:
        seeds = set()
        for arm in arms:
            for record in self.arm_path(arm.id).glob(f"seed-*/{RECORD}"):
                seed = record.parent.name.removeprefix("seed-")
                if seed.isdecimal() and seed.isascii():
                    seeds.add(int(seed))
        return sorted(seeds)

    def write_plan(self, plan: Plan, experiment: Experiment) -> None:
        """Create the directory's own files, or bring them up to date."""
        files.write_json(self.path / PLAN, _plan_to_json(plan))
        files.write_text(
            self.path / EXPERIMENT,
            yaml12.dump({**experiment.resolved, "seeds": AUTO if plan.judging.adaptive else list(plan.seeds)}),
        )
        for arm in plan.arms:
            files.write_json(self.arm_path(arm.id) / SPEC, {"schema": "bdl.spec/1", **arm.spec.to_json()})

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
        found = self._read_run(arm, seed)
        return found if isinstance(found, StoredRun) else None

    def _read_run(self, arm: Arm, seed: int) -> StoredRun | str:
        """A run, or why there is none; an empty text when it was never trained."""
        folder = self.run_path(arm.id, seed)
        if not folder.is_dir():
            return ""
        name = RECORD
        try:
            record = RunRecord.model_validate_json((folder / RECORD).read_bytes())
            if (record.arm, record.seed, record.spec) != (arm.id, seed, arm.spec.digest):
                return f"{RECORD} is that of another run"
            if not record.finished:
                return StoredRun(record, History({}))
            for name, expected in {HISTORY: "", **record.files}.items():
                if files.digest(folder / name) != expected:
                    return f"{name} is damaged"
            return StoredRun(record, History.from_mapping(files.read_json(folder / HISTORY)))
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
        except ValueError:
            return f"{name} is damaged"

    def runs(self, plan: Plan) -> dict[str, dict[int, StoredRun]]:
        """All stored runs by arm and seed."""
        found = {arm.id: {seed: self.read_run(arm, seed) for seed in plan.seeds} for arm in plan.arms}
        return {arm: {seed: run for seed, run in runs.items() if run is not None} for arm, runs in found.items()}

    def lacking(self, plan: Plan) -> dict[str, dict[int, str]]:
        """Why runs of the plan cannot be read, by arm and seed; an empty text for one that was never trained."""
        found = {arm.id: {seed: self._read_run(arm, seed) for seed in plan.seeds} for arm in plan.arms}
        return {
            arm: lacking
            for arm, runs in found.items()
            if (lacking := {seed: run for seed, run in runs.items() if isinstance(run, str)})
        }

    # ---- reading ----

    def count_runs(self) -> int:
        """How many runs left something here, whatever the plan says."""
        return len(list((self.path / ARMS).glob("*/seed-*")))

    def plan(self) -> Plan:
        """Raises :class:`DamagedError` when plan.json is no plan, :class:`UsageError` when it cannot be used."""
        path = self.path / PLAN
        try:
            plain = files.read_json(path)
        except FileNotFoundError:
            raise DamagedError(path, "no such file") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
        except ValueError:
            what = "something else than JSON, or only its beginning" if path.stat().st_size else "an empty file"
            raise DamagedError(path, what) from None
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if isinstance(schema, str) and schema.startswith("bdl.plan/") and schema != PLAN_SCHEMA:
            raise UsageError(
                f"{path}: expected {PLAN_SCHEMA}, found {printable(shortened(schema))}: "
                "it was made by another version of bdl"
            )
        if schema != PLAN_SCHEMA:
            raise DamagedError(path, f"no schema {PLAN_SCHEMA}")
        try:
            return _plan_from_json(plain)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
            raise DamagedError(path, f"no valid value at {place}") from None

    @property
    def changed(self) -> float:
        """When the plan was last written, in seconds since 1970. Raises OSError."""
        return (self.path / PLAN).stat().st_mtime

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


def _plan_from_json(plain: dict[str, Any]) -> Plan:
    del plain["schema"]
    arms = plain.get("arms")
    for arm in arms if isinstance(arms, list) else ():
        if isinstance(arm, dict):
            arm.pop("differences_in_words", None)
    return Plan.model_validate_json(json.dumps(plain))


def _spec_digest(path: pathlib.Path) -> str | None:
    """The digest of the spec in a file; None when it cannot be read."""
    try:
        plain = files.read_json(path)
        plain.pop("schema", None)
        return ArmSpec.from_json(plain).digest
    except (OSError, ValueError, AttributeError, TypeError):
        return None


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
    if path.parent.name == ARMS and (directory := ExperimentDirectory.holding(path.parents[1])):
        return Place(directory, path.name)
    seed = path.name.removeprefix("seed-")
    if len(path.parents) > 2 and path.parents[1].name == ARMS and seed.isdecimal():
        directory = ExperimentDirectory.holding(path.parents[2])
        return Place(directory, path.parent.name, int(seed)) if directory else None
    return None


def experiments(root: pathlib.Path) -> list[ExperimentDirectory]:
    """The experiments stored in a folder, by name."""
    if not root.is_dir():
        return []
    found = (ExperimentDirectory.holding(item) for item in sorted(root.iterdir()) if item.is_dir())
    return [directory for directory in found if directory is not None]
