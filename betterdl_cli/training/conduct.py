"""Train what is missing of an experiment, one run after the other, in a worker process. Imports no Keras."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from betterdl_cli import files
from betterdl_cli.config.experiment import Experiment, Store
from betterdl_cli.errors import UsageError
from betterdl_cli.expand import Arm
from betterdl_cli.record import COMPARABLE, RunRecord
from betterdl_cli.store import ENVIRONMENT, ExperimentDirectory, Plan
from betterdl_cli.training.supervisor import Worker, WorkerDiedError
from betterdl_cli.training.units import WIDTH, Engine, Unit, units


@dataclass(frozen=True)
class Options:
    """How to train; nothing here is part of the experiment's identity."""

    engine: Engine = "fit"
    device: str = "auto"
    threads: int = 1
    allow_mixed: bool = False


class Listener(Protocol):
    """Hears how the training goes on."""

    def begin(self, runs: int, epochs: int) -> None: ...
    def run_begins(self, arm: str, seed: int, epochs: int) -> None: ...
    def group_begins(self, arm: str, seeds: Sequence[int], epochs: int) -> None: ...
    def epochs_done(self, epochs: int) -> None: ...
    def run_ends(self, record: RunRecord) -> None: ...


def missing_runs(directory: ExperimentDirectory, plan: Plan) -> list[tuple[int, Arm]]:
    """What is left to train, seed by seed so that whole pairs come first."""
    found = []
    for seed in plan.seeds:
        for arm in plan.arms:
            run = directory.read_run(arm, seed)
            if run is None or not run.record.finished:
                found.append((seed, arm))
    return found


def conduct(
    directory: ExperimentDirectory,
    experiment: Experiment,
    plan: Plan,
    options: Options,
    listener: Listener,
    check_data: Callable[[], None],
) -> None:
    """Train every missing run and store it. ``check_data`` runs while the worker starts; what it raises is raised.

    Raises :class:`UsageError` when the runs would not be comparable with those already there. Nothing is stored
    before these checks.
    """
    todo = missing_runs(directory, plan)
    if not todo:
        check_data()
        directory.write_plan(plan, experiment)
        return
    log = directory.path / ".worker.log"
    worker: Worker | None = None
    try:
        worker = Worker(options.device, options.threads, log, options.engine)
        check_data()
        environment = worker.wait_until_ready()
        if not options.allow_mixed:
            _refuse_mixed(directory, plan, environment)
        directory.write_plan(plan, experiment)
        files.write_json(
            directory.path / ENVIRONMENT,
            {"schema": "bdl.environment/1", **environment, "git_commit": _git_commit()},
        )
        listener.begin(len(todo), sum(arm.spec.training.epochs for _, arm in todo))
        work = units(todo, options.engine)
        for number, unit in enumerate(work, start=1):
            alive = _train_unit(worker, directory, unit, experiment.store, options, environment, listener)
            if not alive and number < len(work):
                worker.close()
                worker = Worker(options.device, options.threads, log, options.engine)
                worker.wait_until_ready()
    finally:
        if worker is not None:
            worker.close()
        log.unlink(missing_ok=True)  # an interrupt may come before there is a worker to close


def _train_unit(
    worker: Worker,
    directory: ExperimentDirectory,
    unit: Unit,
    store: Store,
    options: Options,
    environment: dict[str, Any],
    listener: Listener,
) -> bool:
    """Train one run or group and store what failed of it; whether the worker is still alive."""
    arm, seeds = unit
    epochs = arm.spec.training.epochs
    request = {
        "arm": arm.id,
        "spec": arm.spec.to_json(),
        "directory": str(directory.path.absolute()),
        "store": store.model_dump(),
        **({"seed": seeds[0]} if options.engine == "fit" else {"seeds": list(seeds), "width": WIDTH}),
    }
    if options.engine == "fit":
        listener.run_begins(arm.id, seeds[0], epochs)
    else:
        listener.group_begins(arm.id, seeds, epochs)
    left, error, alive = list(seeds), "", True
    try:
        for message in worker.train(request):
            if message["event"] == "epoch":
                listener.epochs_done(message["epochs"])
            elif message["event"] == "finished":
                record = RunRecord.model_validate_json(json.dumps(message["record"]))
                left.remove(record.seed)
                listener.run_ends(record)
            elif message["event"] == "failed":
                error = message["error"]
    except WorkerDiedError as death:
        error, alive = f"the training process died: {death}", False
    for seed in left:
        record = RunRecord(
            arm=arm.id, seed=seed, spec=arm.spec.digest, status="failed", error=error, environment=environment
        )
        directory.write_failure(record, worker.log_tail() + "\n")
        listener.run_ends(record)
    return alive


def _refuse_mixed(directory: ExperimentDirectory, plan: Plan, environment: dict[str, Any]) -> None:
    for arm, runs in directory.runs(plan).items():
        for seed, run in runs.items():
            before = run.record.environment
            changed = [key for key in COMPARABLE if run.record.finished and before.get(key) != environment[key]]
            if changed:
                listed = ", ".join(f"{key} {_words(before.get(key))} → {_words(environment[key])}" for key in changed)
                raise UsageError(
                    f"the finished runs in {directory.path} were trained differently ({arm}, seed {seed}: {listed}). "
                    "Mixing them would compare more than the technique: use another --out, or --allow-mixed"
                )


def _words(value: Any) -> str:
    return " ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _git_commit() -> str | None:
    """The commit of the working directory, if it is in a git repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
