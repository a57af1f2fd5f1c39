import errno
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from stored import ENVIRONMENT, Stored, config_with
from workers import wait_for

from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.expand import Arm
from betterdl_cli.files import WriteError, read_json
from betterdl_cli.record import RunRecord
from betterdl_cli.training import crew as crewing
from betterdl_cli.training import setting
from betterdl_cli.training.conduct import Options, conduct, missing_runs
from betterdl_cli.training.setting import Setting, WantedEngine, with_engine
from betterdl_cli.training.supervisor import WorkerDiedError
from betterdl_cli.training.units import Unit


class Stage:
    """An experiment whose workers only act: ``fates`` maps (arm, seed) to what happens to that run.

    A number is the width with which memory suffices. Seed -1 stands for the preparation of the arm.
    """

    def __init__(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored = stored
        self.environment = dict(ENVIRONMENT)
        self.fates: dict[tuple[str, int], str | int] = {}
        self.deaths = 0  # of workers that prepare the control
        self.heard: list[Any] = []
        self.workers: list[ActingWorker] = []
        self.check_data: Callable[[], None] = lambda: None
        monkeypatch.setattr(crewing, "Worker", self.start)

    def start(self, setting: Setting, log: pathlib.Path) -> "ActingWorker":
        self.workers.append(ActingWorker(self, log))
        self.heard.append("worker starts")
        return self.workers[-1]

    def conduct(self, seeds: int | None = None, engine: WantedEngine = "fit", **options: Any) -> None:
        experiment, directory = self.stored.loaded.experiment, self.stored.directory
        if seeds is not None:
            experiment = experiment.model_copy(update={"seeds": tuple(range(seeds))})
        with directory.locked():
            plan = directory.plan_for(experiment, self.stored.loaded.arms)
            conduct(directory, experiment, plan, Options(engine, **options), self, lambda: self.check_data())

    # ---- a Listener ----

    def preparing(self) -> None:
        self.heard.append("preparing")

    def begin(self, todo: Sequence[tuple[int, Arm]]) -> None:
        self.heard.append(("begin", len(todo)))

    def unit_begins(self, unit: Unit) -> None:
        self.heard.append((unit[0].id, *unit[1]))

    def epochs_done(self, unit: Unit, epochs: int) -> None:
        if self.fates.get((unit[0].id, unit[1][0])) == "is interrupted":
            raise KeyboardInterrupt
        self.heard.append(epochs)

    def run_ends(self, record: RunRecord) -> None:
        self.heard.append(record.status)


class ActingWorker:
    def __init__(self, stage: Stage, log: pathlib.Path) -> None:
        self.stage, self.closed, self.dead = stage, False, False
        log.touch()

    def wait_until_ready(self) -> dict[str, Any]:
        return self.stage.environment

    def close(self) -> None:
        self.closed = True

    def log_tail(self) -> str:
        return "what it printed"

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert not self.closed
        assert not self.dead
        yield from self.prepare(request) if request["do"] == "prepare" else self.train(request)

    def prepare(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if request["arm"] == "control" and self.stage.deaths:
            self.stage.deaths -= 1
            raise WorkerDiedError("it was ended by signal 11")
        fate = self.stage.fates.get((request["arm"], -1), 10)
        yield {"event": "refused", "error": fate} if isinstance(fate, str) else {"event": "prepared", "width": fate}
        yield {"event": "done"}

    def train(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        arm, engine = request["arm"], "fit" if request["do"] == "fit" else "vectorized"
        yield {"event": "epoch", "epochs": 2}
        for seed in request["seeds"]:
            fate = self.stage.fates.get((arm, seed), "finishes")
            if fate == "is interrupted":
                wait_for(lambda: self.closed)
                raise WorkerDiedError("it was closed")
            if fate == "dies":
                self.dead = True
                raise WorkerDiedError("it was ended by signal 9 (SIGKILL)")
            if fate == "fails":
                yield {"event": "failed", "error": "ValueError: no", "out_of_memory": False}
                return
            if isinstance(fate, int) and request["width"] > fate:
                yield {"event": "failed", "error": "MemoryError", "out_of_memory": True}
                return
            environment = {**with_engine(self.stage.environment, engine), "width": request["width"]}
            record = self.stage.stored.add_run(arm, seed, environment=environment)
            yield {"event": "finished", "record": json.loads(record.model_dump_json(by_alias=True))}
        yield {"event": "done"}


@pytest.fixture
def stage(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(Stored(tmp_path, config_with(seeds=2)), monkeypatch)


def statuses(stage: Stage) -> dict[tuple[str, int], str]:
    runs = stage.stored.directory.runs(stage.stored.directory.plan())
    return {(arm, seed): run.record.status for arm, by_seed in runs.items() for seed, run in by_seed.items()}


def test_whole_pairs_come_first(stage: Stage) -> None:
    stage.conduct()
    assert stage.heard == [
        "worker starts",
        ("begin", 4),
        *(word for seed in (0, 1) for arm in ("control", "dropout") for word in ((arm, seed), 2, "completed")),
    ]
    assert [worker.closed for worker in stage.workers] == [True]


def test_only_what_is_missing_is_trained(stage: Stage) -> None:
    stage.stored.add("control", [0.8, 0.8])
    stage.stored.add_run("dropout", 1, None, diverged=2)
    stage.conduct()
    assert [item for item in stage.heard if isinstance(item, tuple)] == [("begin", 1), ("dropout", 0)]


def test_failed_runs_are_missing_and_diverged_ones_are_not(stage: Stage) -> None:
    stage.stored.add_run("control", 0, None, diverged=1)
    stage.stored.add_failure("control", 1)
    plan = stage.stored.plan
    assert [(arm.id, seed) for seed, arm in missing_runs(stage.stored.directory, plan)] == [
        ("dropout", 0), ("control", 1), ("dropout", 1)
    ]  # fmt: skip


def test_without_anything_to_train_no_worker_starts_but_the_data_are_checked(stage: Stage) -> None:
    stage.conduct()
    stage.heard.clear()
    stage.check_data = lambda: stage.heard.append("checked")
    stage.conduct()
    assert stage.heard == ["checked"]


def test_a_dead_worker_costs_its_run_and_is_replaced(stage: Stage) -> None:
    stage.fates[("dropout", 0)] = "dies"
    stage.conduct()
    assert statuses(stage) == {
        ("control", 0): "completed", ("dropout", 0): "failed", ("control", 1): "completed", ("dropout", 1): "completed"
    }  # fmt: skip
    assert [worker.closed for worker in stage.workers] == [True, True]
    folder = stage.stored.directory.run_path("dropout", 0)
    record = read_json(folder / "run.json")
    assert record["error"] == "the training process died: it was ended by signal 9 (SIGKILL)"
    assert (folder / "log.txt").read_text() == "what it printed\n"


def test_a_worker_that_dies_with_the_last_run_is_not_replaced(stage: Stage) -> None:
    stage.fates[("dropout", 1)] = "dies"
    stage.conduct()
    assert len(stage.workers) == 1


def test_a_failing_run_costs_itself_and_no_worker(stage: Stage) -> None:
    stage.fates[("control", 0)] = "fails"
    stage.conduct()
    assert [status for status in statuses(stage).values() if status == "failed"] == ["failed"]
    assert len(stage.workers) == 1
    stage.fates.clear()
    stage.conduct()
    assert set(statuses(stage).values()) == {"completed"}


def test_an_interrupt_ends_the_worker_and_keeps_what_is_finished(stage: Stage) -> None:
    stage.fates[("dropout", 0)] = "is interrupted"
    with pytest.raises(KeyboardInterrupt):
        stage.conduct()
    assert stage.workers[0].closed
    assert statuses(stage) == {("control", 0): "completed"}


def test_data_that_do_not_fit_leave_nothing_behind(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UsageError("too few rows")

    stage = Stage(Stored(tmp_path), monkeypatch)
    for item in sorted(stage.stored.path.rglob("*"), reverse=True):
        item.rmdir() if item.is_dir() else item.unlink()
    stage.check_data = refuse
    with pytest.raises(UsageError, match="too few rows"):
        stage.conduct()
    assert stage.workers[0].closed
    assert not [item for item in stage.stored.path.iterdir() if not item.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 2}, "threads 1 → 2"),
        ({"device": "gpu"}, "device cpu → gpu"),
        ({"backend": "jax"}, "backend tensorflow → jax, jit_compile False → True"),
        ({"versions": {"keras": "3.16"}}, "versions keras 3.15.1 tensorflow 2.21.0 → keras 3.16"),
    ],
)
def test_runs_trained_differently_are_refused_before_anything_is_written(
    stage: Stage, change: dict[str, Any], words: str
) -> None:
    stage.conduct()
    before = {path: path.read_bytes() for path in stage.stored.path.rglob("*.json")}
    stage.environment |= change
    with pytest.raises(UsageError) as caught:
        stage.conduct(seeds=3)
    assert str(caught.value) == (
        f"the finished runs in {stage.stored.path} were trained differently (control, seed 0: {words}). "
        "Mixing them would compare more than the technique: use another --out, or --allow-mixed"
    )
    assert {path: path.read_bytes() for path in stage.stored.path.rglob("*.json")} == before
    assert stage.workers[-1].closed


def test_mixing_is_done_when_asked_for(stage: Stage) -> None:
    stage.conduct()
    stage.environment["threads"] = 2
    stage.conduct(seeds=3, allow_mixed=True)
    assert len(statuses(stage)) == 6


def test_failed_runs_may_have_been_trained_differently(stage: Stage) -> None:
    stage.fates[("control", 0)] = "fails"
    stage.conduct()
    for seed, arm in [(0, "dropout"), (1, "control"), (1, "dropout")]:
        stage.stored.add_run(arm, seed, environment={**ENVIRONMENT, "threads": 2})
    stage.environment["threads"] = 2
    stage.fates.clear()
    stage.conduct()
    assert set(statuses(stage).values()) == {"completed"}


def test_the_environment_is_stored(stage: Stage) -> None:
    stage.conduct()
    stored = read_json(stage.stored.path / "environment.json")
    assert stored["schema"] == "bdl.environment/1"
    assert {key: stored[key] for key in ENVIRONMENT} == ENVIRONMENT
    assert stored["git_commit"] is None or len(stored["git_commit"]) == 40


def test_without_git_there_is_no_commit(stage: Stage, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    stage.conduct()
    assert read_json(stage.stored.path / "environment.json")["git_commit"] is None


def test_a_full_disk_ends_the_training_with_its_message(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage.fates[("control", 0)] = "fails"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"plan\.json: No space left on device"):
        stage.conduct()
    assert stage.workers[0].closed


def test_a_replacement_that_does_not_start_ends_the_training(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ActingWorker) -> dict[str, Any]:
        if len(stage.workers) == 1:
            return stage.environment
        raise BdlError("the training process did not start: no memory")

    stage.fates[("control", 0)] = "dies"
    monkeypatch.setattr(ActingWorker, "wait_until_ready", refuse)
    with pytest.raises(BdlError, match="did not start: no memory"):
        stage.conduct()
    assert [worker.closed for worker in stage.workers] == [True, True]
    assert statuses(stage) == {("control", 0): "failed"}


# ---- which engine ----


def engine_of(stage: Stage) -> tuple[str, int, dict[str, str]]:
    choice = stage.stored.directory.plan().engine
    assert choice is not None
    return choice.name, choice.width, choice.reasons


def test_auto_trains_all_seeds_of_an_arm_at_once(stage: Stage) -> None:
    stage.conduct(engine="auto")
    assert [item for item in stage.heard if isinstance(item, tuple)] == [
        ("begin", 4), ("control", 0, 1), ("dropout", 0, 1)
    ]  # fmt: skip
    assert engine_of(stage) == ("vectorized", 10, {})


def test_one_arm_that_cannot_be_compiled_sends_all_to_fit_and_the_plan_says_why(stage: Stage) -> None:
    stage.fates[("dropout", -1)] = "InvalidArgumentError: no such kernel"
    stage.conduct(engine="auto")
    assert engine_of(stage) == ("fit", 1, {"dropout": "InvalidArgumentError: no such kernel"})
    assert ("control", 0) in stage.heard
    assert set(statuses(stage).values()) == {"completed"}


def test_vectorized_asked_for_and_impossible_is_refused_before_anything_is_written(stage: Stage) -> None:
    stage.fates |= {("control", -1): "A: one", ("dropout", -1): "B: two"}
    with pytest.raises(UsageError) as caught:
        stage.conduct(engine="vectorized")
    assert str(caught.value) == (
        "engine vectorized cannot train every arm (--engine auto would use fit):\n  control: A: one\n  dropout: B: two"
    )
    assert not (stage.stored.path / "environment.json").exists()


def test_auto_goes_on_with_the_engine_of_the_finished_runs(stage: Stage) -> None:
    stage.conduct(engine="fit")
    stage.heard.clear()
    stage.conduct(seeds=3, engine="auto")
    assert "preparing" not in stage.heard
    assert engine_of(stage) == ("fit", 1, {})


def test_fit_does_not_go_on_where_vectorized_trained(stage: Stage) -> None:
    stage.conduct(engine="auto")
    with pytest.raises(UsageError, match="engine vectorized → fit"):
        stage.conduct(seeds=3, engine="fit")


def test_the_smallest_width_that_fits_is_that_of_all_arms_and_stays(stage: Stage) -> None:
    stage.fates[("dropout", -1)] = 5
    stage.conduct(engine="auto")
    assert engine_of(stage)[:2] == ("vectorized", 5)
    stage.fates.clear()
    stage.conduct(seeds=12, engine="auto")
    assert engine_of(stage)[:2] == ("vectorized", 5)


def test_where_memory_runs_out_half_the_width_is_tried(stage: Stage) -> None:
    stage.fates |= {("dropout", seed): 2 for seed in range(12)}
    stage.conduct(engine="auto", seeds=12)
    assert set(statuses(stage).values()) == {"completed"}
    assert len(statuses(stage)) == 24
    assert engine_of(stage)[:2] == ("vectorized", 2)
    widths = {
        arm: {run.record.environment["width"] for run in runs.values()}
        for arm, runs in stage.stored.directory.runs(stage.stored.directory.plan()).items()
    }
    assert widths == {"control": {10}, "dropout": {2}}


def test_memory_that_is_short_for_one_seed_is_a_failed_run(stage: Stage) -> None:
    stage.fates[("dropout", 0)] = 0
    stage.conduct(engine="auto")
    assert statuses(stage)["dropout", 0] == "failed"


# ---- several workers ----


def test_jobs_share_the_runs(stage: Stage) -> None:
    stage.conduct(seeds=4, jobs=2)
    assert len(stage.workers) == 2
    assert set(statuses(stage).values()) == {"completed"}
    assert len(statuses(stage)) == 8
    assert all(worker.closed for worker in stage.workers)


def test_more_jobs_than_memory_allows_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crewing.memory, "available", lambda: 3_000_000_000)
    with pytest.raises(UsageError) as caught:
        stage.conduct(jobs=3)
    assert str(caught.value) == (
        "--jobs 3: each training process needs about 1.2 GB of memory, and 3.0 GB are free: expected at most 2"
    )
    assert stage.workers == []


def test_jax_that_is_not_installed_is_one_line(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        stage.conduct(setting=Setting(backend="jax"))
    assert str(caught.value) == "backend jax needs JAX, which is not installed: pip install 'betterdl-cli[jax]'"


# ---- workers that die before they train ----


def test_a_worker_killed_while_compiling_is_no_reason_for_another_engine(stage: Stage) -> None:
    stage.deaths = 1
    stage.conduct(engine="auto")
    assert engine_of(stage) == ("vectorized", 10, {})
    assert set(statuses(stage).values()) == {"completed"}
    assert len(stage.workers) == 2


def test_an_arm_over_which_three_workers_die_is_trained_by_fit(stage: Stage) -> None:
    stage.deaths = 3
    stage.conduct(engine="auto")
    assert engine_of(stage) == (
        "fit", 1, {"control": "the training process died 3 times while compiling it: it was ended by signal 11"}
    )  # fmt: skip


def test_a_worker_that_dies_at_its_start_is_started_once_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def die_first(self: ActingWorker) -> dict[str, Any]:
        if len(stage.workers) == 1:
            raise BdlError("the training process did not start: it was killed")
        return stage.environment

    monkeypatch.setattr(ActingWorker, "wait_until_ready", die_first)
    stage.conduct()
    assert set(statuses(stage).values()) == {"completed"}
    assert [worker.closed for worker in stage.workers] == [True, True]
