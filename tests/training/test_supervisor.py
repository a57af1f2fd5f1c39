import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from specs import spec
from workers import environment, is_alive, shared_worker, wait_for

from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.spec import ArmSpec
from betterdl_cli.training import supervisor
from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker, WorkerDiedError

PARENT = """
import json, pathlib, sys, time
from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker

worker = Worker(Setting(device="cpu"), pathlib.Path(sys.argv[1]))
print(worker.pid, flush=True)
if len(sys.argv) > 2:
    worker.wait_until_ready()
    for message in worker.ask(json.loads(sys.argv[2])):
        print(message["event"], flush=True)
time.sleep(600)
"""


def request(folder: pathlib.Path, arm: ArmSpec, **changes: object) -> dict[str, object]:
    store = {"predictions": True, "weights": True}
    return {
        "do": "fit",
        "arm": "control",
        "seeds": [3],
        "spec": arm.to_json(),
        "directory": str(folder),
        "store": store,
        **changes,
    }


def long_run(folder: pathlib.Path) -> dict[str, object]:
    return request(folder, spec(epochs=1_000_000))


# ---- a worker that lives ----


def test_the_environment_says_what_decides_the_bits() -> None:
    found = environment()
    assert (found["backend"], found["device"], found["threads"]) == ("tensorflow", "cpu", 1)
    assert set(found["versions"]) >= {"keras", "tensorflow", "numpy"}


def test_a_run_ends_with_its_record(tmp_path: pathlib.Path) -> None:
    *epochs, last, done = shared_worker().ask(request(tmp_path, spec(epochs=3)))
    assert {message["event"] for message in epochs} <= {"epoch"}
    assert (last["event"], done["event"]) == ("finished", "done")
    assert (last["record"]["status"], last["record"]["epochs"]) == ("completed", 3)
    folder = tmp_path / "arms" / "control" / "seed-3"
    assert sorted(item.name for item in folder.iterdir()) == [
        "history.json", "predictions.npz", "run.json", "weights.npz"
    ]  # fmt: skip
    assert json.loads((folder / "run.json").read_text()) == last["record"]


def test_epochs_are_heard_while_a_run_lasts(tmp_path: pathlib.Path) -> None:
    *messages, _, _ = shared_worker().ask(request(tmp_path, spec(epochs=60)))
    epochs = [message["epochs"] for message in messages]
    assert epochs == sorted(set(epochs))
    assert 1 <= len(epochs) < 60


def test_what_is_not_to_be_stored_is_not(tmp_path: pathlib.Path) -> None:
    store = {"predictions": False, "weights": False}
    list(shared_worker().ask(request(tmp_path, spec(epochs=1), store=store)))
    folder = tmp_path / "arms" / "control" / "seed-3"
    assert sorted(item.name for item in folder.iterdir()) == ["history.json", "run.json"]


def test_a_failing_run_is_reported_and_the_next_one_trains(tmp_path: pathlib.Path) -> None:
    arm = spec(epochs=1)
    layers = tuple(layer.model_copy(update={"kind": "NoSuchLayer"}) for layer in arm.layers)
    worker = shared_worker()
    (failure,) = worker.ask(request(tmp_path, arm.model_copy(update={"layers": layers})))
    assert failure["event"] == "failed"
    assert failure["error"].startswith("AttributeError: ")
    assert "NoSuchLayer" in failure["error"]
    assert "Traceback" in worker.log_tail()
    assert list(worker.ask(request(tmp_path, arm)))[-1]["event"] == "done"
    assert "Traceback" not in worker.log_tail()  # the log is that of the last run


def test_an_interrupt_is_not_for_the_worker(tmp_path: pathlib.Path) -> None:
    worker = shared_worker()
    environment()
    os.kill(worker.pid, signal.SIGINT)
    assert list(worker.ask(request(tmp_path, spec(epochs=1))))[-1]["event"] == "done"


# ---- a worker that dies ----


def test_a_killed_worker_is_noticed_with_its_signal(tmp_path: pathlib.Path) -> None:
    worker = Worker(Setting(device="cpu"), tmp_path / "log")
    try:
        worker.wait_until_ready()
        messages = worker.ask(long_run(tmp_path))
        assert next(messages)["event"] == "epoch"
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError) as caught:
            list(messages)
        assert str(caught.value) == "it was ended by signal 9 (SIGKILL); the system may have run out of memory"
        with pytest.raises(WorkerDiedError):
            next(worker.ask(long_run(tmp_path)))
    finally:
        worker.close()
    assert not (tmp_path / "arms").exists()
    assert not (tmp_path / "log").exists()


def test_a_worker_killed_by_a_plain_signal_is_not_blamed_on_memory(tmp_path: pathlib.Path) -> None:
    worker = Worker(Setting(device="cpu"), tmp_path / "log")
    try:
        os.kill(worker.pid, signal.SIGTERM)
        with pytest.raises(BdlError, match=r"did not start: it was ended by signal 15 \(SIGTERM\)\n"):
            worker.wait_until_ready()
    finally:
        worker.close()


def test_a_worker_that_cannot_start_shows_what_it_printed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor.sys, "executable", "/bin/ls")
    worker = Worker(Setting(device="cpu"), tmp_path / "log")
    try:
        with pytest.raises(BdlError, match=r"did not start: it ended with exit code [12]\n(.|\n)*ls: "):
            worker.wait_until_ready()
    finally:
        worker.close()


def test_a_log_that_cannot_be_written_is_one_message(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"log in .*: No such file or directory"):
        Worker(Setting(device="cpu"), tmp_path / "missing" / "log")


def test_a_gpu_asked_for_and_not_found_is_one_message(tmp_path: pathlib.Path) -> None:
    worker = Worker(Setting(device="gpu"), tmp_path / "log")
    try:
        with pytest.raises(UsageError) as caught:
            worker.wait_until_ready()
    finally:
        worker.close()
    assert str(caught.value) == ("expected a GPU (--device gpu), found none that TensorFlow can use; try --device cpu")


def test_python_files_of_the_current_directory_are_not_imported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ctypes", "queue", "keras"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    worker = Worker(Setting(device="cpu"), tmp_path / "log")
    try:
        wait_for(lambda: _imports_tensorflow(worker.pid) or not is_alive(worker.pid))
        assert is_alive(worker.pid)
        assert worker.log_tail() == ""
    finally:
        worker.close()


def _imports_tensorflow(pid: int) -> bool:
    """Whether a process has begun to: until then the interpreter is still starting."""
    maps = pathlib.Path(f"/proc/{pid}/maps")
    return "tensorflow" in maps.read_text() if maps.exists() else time.sleep(3) is None


def test_a_killed_worker_leaves_no_temporary_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    worker = Worker(Setting(device="cpu"), tmp_path / ".worker.log")
    try:
        worker.wait_until_ready()
        assert next(worker.ask(long_run(tmp_path)))["event"] == "epoch"  # TensorFlow wrote what autograph generated
        assert any((tmp_path / ".worker.tmp").iterdir())
    finally:
        worker.close()
    assert [item.name for item in tmp_path.rglob("*")] == ["system"]


def test_temporary_files_of_a_worker_whose_parent_was_killed_go_with_the_next_one(tmp_path: pathlib.Path) -> None:
    left = tmp_path / ".worker.tmp" / "left.py"
    left.parent.mkdir()
    left.touch()
    worker = Worker(Setting(device="cpu"), tmp_path / ".worker.log")
    try:
        assert left.parent.is_dir()
        assert not left.exists()
    finally:
        worker.close()


# ---- a parent that dies ----


@pytest.fixture
def parents() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def start_parent(parents: list[subprocess.Popen[str]], *arguments: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True)
    parents.append(process)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def assert_ends_with_its_parent(parent: subprocess.Popen[str], worker: int) -> None:
    assert is_alive(worker)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(worker), seconds=1.0)


def test_a_training_worker_ends_within_a_second_of_its_parent(
    tmp_path: pathlib.Path, parents: list[subprocess.Popen[str]]
) -> None:
    parent, worker = start_parent(parents, str(tmp_path / "log"), json.dumps(long_run(tmp_path)))
    assert parent.stdout is not None
    assert parent.stdout.readline() == "epoch\n"
    assert_ends_with_its_parent(parent, worker)


def test_a_worker_that_imports_tensorflow_ends_within_a_second_of_its_parent(
    tmp_path: pathlib.Path, parents: list[subprocess.Popen[str]]
) -> None:
    parent, worker = start_parent(parents, str(tmp_path / "log"))
    wait_for(lambda: _imports_tensorflow(worker))
    assert_ends_with_its_parent(parent, worker)


def test_a_worker_ends_with_a_parent_that_dies_at_once(
    tmp_path: pathlib.Path, parents: list[subprocess.Popen[str]]
) -> None:
    parent, worker = start_parent(parents, str(tmp_path / "log"))
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(worker), seconds=3.0)  # its interpreter has to start first
