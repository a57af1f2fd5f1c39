import errno
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stored import ENVIRONMENT, Stored, config_with

from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.files import WriteError, read_json
from betterdl_cli.record import RunRecord
from betterdl_cli.training import conduct as conducting
from betterdl_cli.training.conduct import Options, conduct, missing_runs
from betterdl_cli.training.supervisor import WorkerDiedError


class Stage:
    """An experiment whose workers only act: ``fates`` maps (arm, seed) to what happens to that run."""

    def __init__(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored = stored
        self.environment = dict(ENVIRONMENT)
        self.fates: dict[tuple[str, int], str] = {}
        self.heard: list[Any] = []
        self.workers: list[ActingWorker] = []
        self.check_data: Callable[[], None] = lambda: None
        monkeypatch.setattr(conducting, "Worker", self.start)

    def start(self, device: str, threads: int, log: pathlib.Path, engine: str) -> "ActingWorker":
        self.workers.append(ActingWorker(self, log))
        self.heard.append("worker starts")
        return self.workers[-1]

    def conduct(self, seeds: int | None = None, **options: Any) -> None:
        experiment, directory = self.stored.loaded.experiment, self.stored.directory
        if seeds is not None:
            experiment = experiment.model_copy(update={"seeds": tuple(range(seeds))})
        with directory.locked():
            plan = directory.plan_for(experiment, self.stored.loaded.arms)
            conduct(directory, experiment, plan, Options(**options), self, lambda: self.check_data())

    # ---- a Listener ----

    def begin(self, runs: int, epochs: int) -> None:
        self.heard.append(("begin", runs, epochs))

    def run_begins(self, arm: str, seed: int, epochs: int) -> None:
        self.heard.append((arm, seed))

    def epochs_done(self, epochs: int) -> None:
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

    def train(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert not self.closed
        assert not self.dead
        arm, seed = request["arm"], request["seed"]
        fate = self.stage.fates.get((arm, seed), "finishes")
        yield {"event": "epoch", "epochs": 2}
        if fate == "dies":
            self.dead = True
            raise WorkerDiedError("it was ended by signal 9 (SIGKILL)")
        if fate == "is interrupted":
            raise KeyboardInterrupt
        if fate == "fails":
            yield {"event": "failed", "error": "ValueError: no"}
            return
        record = self.stage.stored.add_run(arm, seed, environment=self.stage.environment)
        yield {"event": "finished", "record": json.loads(record.model_dump_json(by_alias=True))}


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
        ("begin", 4, 12),
        *(word for seed in (0, 1) for arm in ("control", "dropout") for word in ((arm, seed), 2, "completed")),
    ]
    assert [worker.closed for worker in stage.workers] == [True]


def test_only_what_is_missing_is_trained(stage: Stage) -> None:
    stage.stored.add("control", [0.8, 0.8])
    stage.stored.add_run("dropout", 1, None, diverged=2)
    stage.conduct()
    assert [item for item in stage.heard if isinstance(item, tuple)] == [("begin", 1, 3), ("dropout", 0)]


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
        ({"engine": "vectorized", "backend": "jax"}, "engine fit → vectorized, backend tensorflow → jax"),
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
