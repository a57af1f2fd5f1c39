"""Train what is missing of an experiment in worker processes. Imports no Keras."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from betterdl_cli import files
from betterdl_cli.config.experiment import Experiment, Store
from betterdl_cli.errors import UsageError
from betterdl_cli.expand import Arm
from betterdl_cli.record import COMPARABLE, RunRecord
from betterdl_cli.store import ENVIRONMENT, EngineChoice, ExperimentDirectory, Plan
from betterdl_cli.training.crew import Crew, Died, Task
from betterdl_cli.training.setting import Setting, WantedEngine, with_engine
from betterdl_cli.training.units import WIDTH, Unit, units

DEATHS = 3  # of workers over the same arm, after which the arm is to blame


@dataclass(frozen=True)
class Options:
    """How to train; nothing here is part of the experiment's identity. ``jobs``: workers side by side."""

    engine: WantedEngine = "auto"
    setting: Setting = field(default_factory=Setting)
    jobs: int = 1
    allow_mixed: bool = False


class Listener(Protocol):
    """Hears how the training goes on."""

    def preparing(self) -> None: ...
    def begin(self, todo: Sequence[tuple[int, Arm]]) -> None: ...
    def unit_begins(self, unit: Unit) -> None: ...
    def epochs_done(self, unit: Unit, epochs: int) -> None: ...
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
) -> Plan:
    """Train every missing run and store it; the plan with the engine that was chosen.

    ``check_data`` runs while the workers start; what it raises is raised. Raises :class:`UsageError` when the runs
    would not be comparable with those already there, or cannot be trained as asked. Nothing is stored before these
    checks.
    """
    todo = missing_runs(directory, plan)
    if not todo:
        check_data()
        directory.write_plan(plan, experiment)
        return plan
    options.setting.require_backend()
    with Crew(options.setting, options.jobs, directory.path) as crew:
        check_data()
        environment = crew.wait_until_ready()
        choice = _choose_engine(crew, directory, plan, todo, options, listener)
        plan = plan.model_copy(update={"engine": choice})
        environment = with_engine(environment, choice.name)
        if not options.allow_mixed:
            _refuse_mixed(directory, plan, environment)
        directory.write_plan(plan, experiment)
        files.write_json(
            directory.path / ENVIRONMENT,
            {"schema": "bdl.environment/1", **environment, "git_commit": _git_commit()},
        )
        listener.begin(todo)
        trainer = _Trainer(crew, directory, experiment.store, environment, listener)
        while todo:
            todo = trainer.train(units(todo, choice.name, choice.width), choice)
            if todo:  # memory ran out: again with fewer seeds at once
                choice = choice.model_copy(update={"width": choice.width // 2})
                plan = plan.model_copy(update={"engine": choice})
                directory.write_plan(plan, experiment)
    directory.remove_checkpoints()
    return plan


def _choose_engine(
    crew: Crew,
    directory: ExperimentDirectory,
    plan: Plan,
    todo: Sequence[tuple[int, Arm]],
    options: Options,
    listener: Listener,
) -> EngineChoice:
    """The engine of all arms: ``vectorized`` where every arm can be trained by it, unless told otherwise.

    Finished runs decide before anything else, so that more seeds can be added. Raises :class:`UsageError` when
    ``vectorized`` was asked for and is not possible.
    """
    before = plan.engine
    finished = {
        run.record.environment.get("engine")
        for runs in directory.runs(plan).values()
        for run in runs.values()
        if run.record.finished
    }
    if options.engine == "fit" or (options.engine == "auto" and finished == {"fit"}):
        return before if before and before.name == "fit" else EngineChoice(name="fit")
    listener.preparing()
    width = before.width if before and before.name == "vectorized" else WIDTH
    first = {unit[0].id: unit for unit in reversed(units(todo, "vectorized", width))}
    unprepared = [first[arm.id] for arm in plan.arms if arm.id in first]
    reasons: dict[str, str] = {}
    deaths: Counter[str] = Counter()
    while unprepared and not reasons:
        again, short = [], False
        for task, answer in crew.work([_preparation(unit, width, crew.memory) for unit in unprepared]):
            arm = task.unit[0].id
            if isinstance(answer, Died):
                deaths[arm] += 1
                if deaths[arm] < DEATHS or (answer.out_of_memory and width > 1):
                    again.append(task.unit)  # someone may have killed the process: that says nothing about the arm
                    short = short or answer.out_of_memory
                else:
                    reasons[arm] = f"the training process died {DEATHS} times while compiling it: {answer.how}"
            elif answer["event"] in {"refused", "failed"}:
                reasons[arm] = answer["error"]
            elif answer["event"] == "prepared":
                width = min(width, answer["width"])
        unprepared, width = again, max(1, width // 2) if short else width
    if reasons and options.engine == "vectorized":
        listed = "".join(f"\n  {arm}: {why}" for arm, why in reasons.items())
        raise UsageError(f"engine vectorized cannot train every arm (--engine auto would use fit):{listed}")
    return EngineChoice(name="fit", reasons=reasons) if reasons else EngineChoice(name="vectorized", width=width)


def _preparation(unit: Unit, width: int, memory: float) -> Task:
    arm, seeds = unit
    asked = {"arm": arm.id, "spec": arm.spec.to_json(), "seeds": seeds, "width": width, "memory": memory}
    return Task({"do": "prepare", **asked}, unit)


@dataclass
class _Trainer:
    """Hands units to the crew and stores what failed of them."""

    crew: Crew
    directory: ExperimentDirectory
    store: Store
    environment: dict[str, Any]
    listener: Listener

    def train(self, work: Sequence[Unit], choice: EngineChoice) -> list[tuple[int, Arm]]:
        """Train all units; what is left because memory ran out with several seeds at once."""
        left, starved = {_key(unit): list(unit[1]) for unit in work}, []
        for task, answer in self.crew.work([Task(self._request(unit, choice), unit) for unit in work]):
            seeds = left[_key(task.unit)]
            if isinstance(answer, Died):
                error, out_of_memory, log = f"the training process died: {answer.how}", answer.out_of_memory, answer.log
            elif answer["event"] == "failed":
                error, out_of_memory, log = answer["error"], answer["out_of_memory"], answer["log"]
            else:
                self._hear(task.unit, answer, seeds)
                continue
            if out_of_memory and choice.width > 1:
                starved += [task.unit, *(recalled.unit for recalled in self.crew.recall())]
            else:
                self._fail(task.unit[0], seeds, error, log)
        return [(seed, unit[0]) for unit in starved for seed in left[_key(unit)]]

    def _request(self, unit: Unit, choice: EngineChoice) -> dict[str, Any]:
        arm, seeds = unit
        return {
            "do": "fit" if choice.name == "fit" else "group",
            "arm": arm.id,
            "spec": arm.spec.to_json(),
            "seeds": seeds,
            "width": choice.width,
            "directory": str(self.directory.path.absolute()),
            "store": self.store.model_dump(),
        }

    def _hear(self, unit: Unit, message: dict[str, Any], left: list[int]) -> None:
        if message["event"] == "begins":
            self.listener.unit_begins(unit)
        elif message["event"] == "epoch":
            self.listener.epochs_done(unit, message["epochs"])
        elif message["event"] == "finished":
            record = RunRecord.model_validate_json(json.dumps(message["record"]))
            left.remove(record.seed)
            self.listener.run_ends(record)

    def _fail(self, arm: Arm, seeds: Sequence[int], error: str, log: str) -> None:
        for seed in seeds:
            record = RunRecord(
                arm=arm.id, seed=seed, spec=arm.spec.digest, status="failed", error=error, environment=self.environment
            )
            self.directory.write_failure(record, log + "\n")
            self.listener.run_ends(record)


def _key(unit: Unit) -> tuple[str, tuple[int, ...]]:
    return unit[0].id, unit[1]


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
