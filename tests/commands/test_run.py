import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from shell import Result
from shell import bdl as any_bdl
from stored import config_with, write_config
from workers import BorrowedCompiler, BorrowedWorker, wait_for

from betterdl_cli.store import ExperimentDirectory
from betterdl_cli.training import crew
from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker

# Long enough to be interrupted in the middle of a run, short enough to be repeated.
CONFIG = config_with(name="tiny", seeds=2, **{"training.epochs": 40, "training.batch_size": 16})
ARRAYS = ("history.json", "predictions.npz", "weights.npz")
RUNS = [("control", 0), ("dropout", 0), ("control", 1), ("dropout", 1)]


def bdl(*words: object) -> Result:
    return any_bdl(*words, *(("--engine", "fit") if words[0] == "run" else ()))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process train in the shared worker."""
    monkeypatch.setattr(crew, "Worker", BorrowedWorker)


class NoWorker:
    """Stands where no training may happen."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "Worker", NoWorker)


@pytest.fixture
def config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a config in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return str(write_config(pathlib.Path(), CONFIG))


def shell(config: object, *words: object, cwd: pathlib.Path, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "betterdl_cli", "run", str(config), "--engine", "fit", *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def run_files(directory: pathlib.Path) -> dict[str, Any]:
    """What all runs of an experiment left behind: bytes, and records without their time."""
    found: dict[str, Any] = {}
    for path in sorted(directory.glob("arms/*/seed-*/*")):
        name = str(path.relative_to(directory))
        if path.name == "run.json":
            found[name] = {**json.loads(path.read_text()), "seconds": None}
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pathlib.Path, Result]]:
    """The whole thing once, as from a shell, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = shell(write_config(folder, CONFIG), "--json", cwd=folder)
    out, err = process.communicate(timeout=120)
    result = Result(process.returncode, out, err)
    assert result.code == 0, result.err
    (directory,) = (folder / "runs").iterdir()
    yield directory, result


@pytest.fixture
def finished(undisturbed: tuple[pathlib.Path, Result], config: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the undisturbed experiment, in the working directory of ``config``."""
    return pathlib.Path(shutil.copytree(undisturbed[0], tmp_path / "runs" / undisturbed[0].name))


def trained_lines(result: Result) -> list[str]:
    return [line.split(": ")[0] for line in result.err.splitlines() if line.startswith("[")]


# ---- an undisturbed experiment ----


def test_json_is_one_document_on_standard_output_and_nothing_else(undisturbed: tuple[pathlib.Path, Result]) -> None:
    _, result = undisturbed
    assert result.json["schema"] == "bdl.summary/1"
    assert result.err == ""


def test_the_directory_holds_the_documented_files(undisturbed: tuple[pathlib.Path, Result]) -> None:
    directory, result = undisturbed
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    runs = {f"arms/{arm}/seed-{seed}/{name}" for arm, seed in RUNS for name in (*ARRAYS, "run.json")}
    specs = {f"arms/{arm}/spec.json" for arm in ("control", "dropout")}
    report = {f"report/{name}" for name in ("report.md", "summary.json", *result.json["pictures"])}
    assert files == runs | specs | report | {".lock", "experiment.yaml", "plan.json", "environment.json"}
    assert result.json["pictures"] == ["effects.png", "curves_dropout.png", "difference_dropout.png"]
    assert json.loads((directory / "report" / "summary.json").read_text()) == result.json


def test_the_pairs_are_pairs(undisturbed: tuple[pathlib.Path, Result]) -> None:
    paired = undisturbed[1].json["arms"][1]["difference"]["paired"]
    assert paired["in_words"] == "same split, same data order, same initial weights of hidden_1, output"
    assert paired["pairs"] == 2


def test_scores_are_those_of_the_stored_predictions(undisturbed: tuple[pathlib.Path, Result]) -> None:
    directory, result = undisturbed
    accuracies = []
    for seed in (0, 1):
        with np.load(directory / "arms" / "dropout" / f"seed-{seed}" / "predictions.npz") as stored:
            accuracies.append(float(np.mean((stored["test"] > 0.5) == stored["test_labels"])))
    assert result.json["arms"][1]["scores"]["test"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))


@pytest.mark.usefixtures("worker")
def test_another_process_trains_the_same_bytes(undisturbed: tuple[pathlib.Path, Result], config: str) -> None:
    result = bdl("run", config)
    assert result.code == 0
    directory = next(pathlib.Path("runs").iterdir())
    assert run_files(directory) == run_files(undisturbed[0])
    assert trained_lines(result) == [f"[{n}/4] {arm}, seed {seed}" for n, (arm, seed) in enumerate(RUNS, start=1)]
    assert f"report: {directory}/report/report.md" in result.out.splitlines()
    assert f"picture: {directory}/report/difference_dropout.png" in result.out.splitlines()


@pytest.mark.usefixtures("finished", "no_worker")
def test_the_same_command_again_trains_nothing(config: str) -> None:
    result = bdl("run", config)
    assert result.code == 0
    assert result.err == f"{next(pathlib.Path('runs').iterdir())}: 4 finished runs found and kept\n"
    assert "dropout" in result.out


# ---- stopped in the middle ----


def start_and_wait_for_a_run(config: str, folder: pathlib.Path) -> "subprocess.Popen[str]":
    process = shell(config, cwd=folder)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("[1/4] control, seed 0: ")
    return process


@pytest.mark.usefixtures("worker")
def test_ctrl_c_keeps_finished_runs_and_the_same_command_continues(
    undisturbed: tuple[pathlib.Path, Result], config: str, tmp_path: pathlib.Path
) -> None:
    process = start_and_wait_for_a_run(config, tmp_path)
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - pressed < 15.0  # the rest of the training would take longer; machines are shared
    directory = pathlib.Path("runs") / undisturbed[0].name
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        f"bdl: interrupted; 1 of 4 runs is finished and kept in {directory}. The same command continues."
    )
    assert not (directory / ".worker.log").exists()
    result = bdl("run", config)
    assert trained_lines(result) == ["[1/3] dropout, seed 0", "[2/3] control, seed 1", "[3/3] dropout, seed 1"]
    assert run_files(directory) == run_files(undisturbed[0])


def test_ctrl_c_while_tensorflow_starts_answers_at_once(config: str, tmp_path: pathlib.Path) -> None:
    process = shell(config, cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("runs/*/.worker.log")))
    os.killpg(process.pid, signal.SIGINT)
    pressed = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - pressed < 15.0  # TensorFlow alone may take longer to start on a busy machine
    (directory,) = tmp_path.glob("runs/*")
    assert (process.returncode, out) == (130, "")
    assert err == (
        f"bdl: interrupted; 0 of 4 runs are finished and kept in runs/{directory.name}. The same command continues.\n"
    )
    assert [item.name for item in directory.iterdir()] == [".lock"]


@pytest.mark.usefixtures("worker")
def test_while_one_runs_a_second_is_refused_and_a_killed_one_can_be_continued(
    undisturbed: tuple[pathlib.Path, Result], config: str, tmp_path: pathlib.Path
) -> None:
    process = start_and_wait_for_a_run(config, tmp_path)
    directory = pathlib.Path("runs") / undisturbed[0].name
    second = bdl("run", config)
    process.kill()
    process.communicate(timeout=30)
    assert (second.code, second.out) == (1, "")
    assert second.err == (
        f"bdl: {directory} is in use by process {process.pid} on {os.uname().nodename}; wait for it or stop it\n"
    )
    assert bdl("run", config).code == 0
    assert run_files(directory) == run_files(undisturbed[0])


@pytest.mark.usefixtures("config")
def test_a_killed_worker_costs_its_run_which_the_same_command_trains_again(
    undisturbed: tuple[pathlib.Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doomed(Worker):
        def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
            for message in super().ask(request):
                yield message
                if request["arm"] == "dropout":
                    os.kill(self.pid, signal.SIGKILL)

    started: list[type] = []

    def start(*arguments: Any) -> Any:
        started.append(BorrowedWorker if started else Doomed)
        return started[-1](*arguments)

    monkeypatch.setattr(crew, "Worker", start)
    result = bdl("run", "config.yaml")
    directory = pathlib.Path("runs") / undisturbed[0].name
    error = "the training process died: it was ended by signal 9 (SIGKILL); the system may have run out of memory"
    assert result.code == 1
    assert f"[2/4] dropout, seed 0: FAILED: {error}" in result.err.splitlines()
    assert f"dropout failed in 1 of 2 runs (seed 0: {error}); the log.txt of a failed run says more." in result.out
    assert started == [Doomed, BorrowedWorker]
    again = bdl("run", "config.yaml")
    assert (again.code, trained_lines(again)) == (0, ["[1/1] dropout, seed 0"])
    assert run_files(directory) == run_files(undisturbed[0])


# ---- what is there is kept, what is not whole is trained again ----


@pytest.mark.usefixtures("worker")
def test_seeds_added_later_leave_the_earlier_runs_untouched(config: str, finished: pathlib.Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in finished.glob("arms/*/seed-*/*")}
    result = bdl("run", config, "seeds=3", "--json")
    assert result.code == 0
    assert result.json["seeds"] == [0, 1, 2]
    assert result.json["arms"][1]["difference"]["n_pairs"] == 3
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("lost", ["directory", "run.json", "history.json", "weights.npz"])
def test_what_is_lost_is_trained_again_with_the_same_bytes(config: str, finished: pathlib.Path, lost: str) -> None:
    before = run_files(finished)
    folder = finished / "arms" / "dropout" / "seed-1"
    if lost == "directory":
        shutil.rmtree(folder)
    else:
        (folder / lost).write_bytes((folder / lost).read_bytes()[:-30])
    result = bdl("run", config)
    assert (result.code, trained_lines(result)) == (0, ["[1/1] dropout, seed 1"])
    assert run_files(finished) == before


class FailingOnce(BorrowedWorker):
    """Trains something that cannot be built instead of one of the runs."""

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if (request["arm"], request["seeds"]) == ("dropout", (1,)):
            layers = [{**layer, "kind": "NoSuchLayer"} for layer in request["spec"]["layers"]]
            request = {**request, "spec": {**request["spec"], "layers": layers}}
        answers: Iterator[dict[str, Any]] = self.__getattr__("ask")(request)
        return answers


@pytest.fixture
def failed(finished: pathlib.Path, config: str, monkeypatch: pytest.MonkeyPatch) -> tuple[pathlib.Path, Result]:
    shutil.rmtree(finished / "arms" / "dropout" / "seed-1")
    monkeypatch.setattr(crew, "Worker", FailingOnce)
    return finished / "arms" / "dropout" / "seed-1", bdl("run", config, "--json")


def test_a_failed_run_makes_exit_code_1_and_keeps_its_log(failed: tuple[pathlib.Path, Result]) -> None:
    folder, result = failed
    assert result.code == 1
    assert list(result.json["arms"][1]["failed"]) == ["1"]
    assert result.json["arms"][1]["difference"]["n_pairs"] == 1
    assert sorted(item.name for item in folder.iterdir()) == ["log.txt", "run.json"]
    assert "NoSuchLayer" in (folder / "log.txt").read_text()


def test_a_failed_run_is_trained_again(failed: tuple[pathlib.Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = failed
    monkeypatch.setattr(crew, "Worker", BorrowedWorker)
    result = bdl("run", "config.yaml")
    assert (result.code, trained_lines(result)) == (0, ["[1/1] dropout, seed 1"])
    assert sorted(item.name for item in folder.iterdir()) == [
        "history.json",
        "predictions.npz",
        "run.json",
        "weights.npz",
    ]


@pytest.mark.usefixtures("worker")
def test_a_diverged_run_is_a_result(config: str) -> None:
    result = bdl("run", config, "training.optimizer.learning_rate=1e6", "training.epochs=3", "seeds=1")
    assert result.code == 0
    assert "[1/2] control, seed 0: diverged at epoch 1 (" in result.err
    assert "control diverged in its only run (seed 0 at epoch 1), so it has no score." in result.out


@pytest.mark.usefixtures("worker")
def test_arrays_are_kept_only_if_asked_for(config: str) -> None:
    bdl("run", config, "store.weights=false", "store.predictions=false", "training.epochs=1", "seeds=1", "--out", "x")
    assert sorted(item.name for item in pathlib.Path("x/arms/control/seed-0").iterdir()) == ["history.json", "run.json"]


def test_a_disk_that_fills_up_is_a_failed_run_and_nothing_half_written_is_taken_for_whole(
    config: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("training.epochs=1", "model.hidden=[9000]", "seeds=1", "--out", "x", "--json")
    limit = 60_000  # bytes per file: the weights of 9000 units take more, all else less
    process = shell(
        config, *words, cwd=tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    out, err = process.communicate(timeout=120)
    result = Result(process.returncode, out, err)
    folder = pathlib.Path("x/arms/control/seed-0")
    assert result.code == 1
    (failure,) = result.json["arms"][0]["failed"].values()
    assert failure.endswith("x/arms/control/seed-0/weights.npz: File too large")
    assert result.json["arms"][0]["seeds"] == []
    assert sorted(item.name for item in folder.iterdir() if item.name in {"run.json", "weights.npz"}) == ["run.json"]
    monkeypatch.setattr(crew, "Worker", BorrowedWorker)
    again = bdl("run", config, *words)
    assert again.code == 0
    assert sorted(item.name for item in folder.iterdir()) == [
        "history.json",
        "predictions.npz",
        "run.json",
        "weights.npz",
    ]


# ---- what is refused ----


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.split.train=90",
            "expected at most 100 rows, as many as there are; found train 90 + validation 20 + test",
        ),
        (
            "data.split.train=1",
            "override 'data.split.train=1': data.split.train: expected rows of every class in every",
        ),
        ("data.split.test=0.001", "data.split.test: expected at least one row, found 0.001 of 100 rows"),
    ],
)
def test_data_that_do_not_fit_are_refused_and_leave_the_directory_free(
    config: str, override: str, message: str
) -> None:
    result = bdl("run", config, override, "--out", "x")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert [item.name for item in pathlib.Path("x").iterdir()] == [".lock"]
    assert bdl("run", config, override, "--dry-run").err == result.err


@pytest.mark.usefixtures("no_worker")
def test_a_part_without_a_class_is_refused(config: str) -> None:
    split = "data.split={train: 30, test: 1, order: given}"
    result = bdl("run", config, split)
    assert result.code == 2
    assert "expected every class in the test part (1 rows), found none of class " in result.err


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("place", ["config.yaml", "config.yaml/below", "/dev/null/x", "/proc/x"])
def test_an_output_that_cannot_be_written_is_one_message(config: str, place: str) -> None:
    result = bdl("run", config, "--out", place)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"bdl: cannot write to {place}: ")
    assert len(result.err.splitlines()) == 1


@pytest.mark.usefixtures("no_worker")
def test_a_directory_of_another_experiment_is_refused_and_left_alone(config: str, finished: pathlib.Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.name != ".lock"}
    result = bdl("run", config, "training.epochs=5", "--out", finished)
    assert result.code == 2
    assert result.err.startswith(f"bdl: {finished} holds another experiment: expected 'tiny' with id ")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("no_worker")
def test_a_directory_of_something_else_is_refused_and_left_alone(config: str) -> None:
    pathlib.Path("thesis").mkdir()
    pathlib.Path("thesis/chapter1.tex").touch()
    result = bdl("run", config, "--out", "thesis")
    assert result.code == 2
    assert result.err == ("bdl: thesis is not an experiment directory: expected it to be empty, found chapter1.tex\n")


class TwoThreads(BorrowedWorker):
    def __init__(self, setting: Setting, log: pathlib.Path) -> None:
        super().__init__(Setting(device=setting.device), log)

    def wait_until_ready(self) -> dict[str, Any]:
        return {**super().wait_until_ready(), "threads": 2}


def test_other_threads_are_refused_unless_mixing_is_allowed(
    config: str, finished: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "Worker", TwoThreads)
    words = ("run", config, "seeds=3", "--threads", "2")
    refused = bdl(*words)
    assert refused.code == 2
    assert "were trained differently (control, seed 0: threads 1 → 2)" in refused.err
    assert ExperimentDirectory(finished).plan().seeds == (0, 1)
    allowed = bdl(*words, "--allow-mixed")
    assert (allowed.code, trained_lines(allowed)) == (0, ["[1/2] control, seed 2", "[2/2] dropout, seed 2"])


# ---- without training ----


@pytest.mark.usefixtures("no_worker")
def test_a_dry_run_shows_the_work_and_writes_nothing(config: str) -> None:
    result = bdl("run", config, "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert "+ layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1" in result.out
    assert "4 runs, 160 epochs, 640 weight updates" in result.out
    assert "Nothing was trained." in result.out
    assert [item.name for item in pathlib.Path().iterdir()] == ["config.yaml"]


@pytest.mark.usefixtures("no_worker")
def test_a_dry_run_counts_one_as_one(config: str) -> None:
    out = bdl("run", config, "--dry-run", "techniques={}", "seeds=1", "training.epochs=1", "training.batch_size=60").out
    assert "control: 1 epoch of 1 update\n" in out
    assert "\nseed: 0\n" in out
    assert "\n1 run, 1 epoch, 1 weight update; roughly " in out


def test_a_dry_run_as_json(config: str) -> None:
    found = bdl("run", config, "--dry-run", "--json", "seeds=5").json
    assert found["schema"] == "bdl.dry-run/1"
    assert (found["runs"], found["epochs"], found["updates"]) == (10, 400, 1600)
    assert [arm["arm"] for arm in found["arms"]] == ["control", "dropout"]
    assert not pathlib.Path("runs").exists()


# ---- configs of the project ----

CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_there_is_a_config_for_every_lesson() -> None:
    names = [path.name for path in CONFIGS]
    assert [sum(name.startswith(f"lesson0{number}_") for name in names) for number in range(2, 8)] == [1] * 6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_validates(path: pathlib.Path) -> None:
    result = bdl("validate", path)
    assert (result.code, result.err) == (0, "")


@pytest.mark.usefixtures("worker")
def test_a_smoke_run_is_small_and_has_a_directory_of_its_own(config: str) -> None:
    words = ("data.split.train=80", "data.split.validation=null", "data.n_samples=200", "seeds=[7, 8, 9]")
    summary = bdl("run", config, "--smoke", "--json", *words).json
    directory = pathlib.Path(summary["directory"])
    records = [json.loads(path.read_text()) for path in directory.glob("arms/*/seed-*/run.json")]
    assert directory.name.startswith("tiny-smoke-")
    assert (summary["smoke"], summary["seeds"]) == (True, [7, 8])
    assert {(record["epochs"], record["rows"]["train"], record["rows"]["test"]) for record in records} == {(3, 64, 20)}
    assert len(records) == 4


@pytest.mark.parametrize("engine", ["fit", "vectorized"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_passes_a_smoke_run(
    path: pathlib.Path, engine: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crew, "Worker", BorrowedWorker if engine == "fit" else BorrowedCompiler)
    asked = "fit" if engine == "fit" else "auto"
    result = any_bdl("run", path, "--smoke", "--json", "seeds=1", "--engine", asked)
    assert result.code == 0, result.err
    summary = result.json
    assert summary["engine"]["name"] == engine
    assert all(arm["seeds"] == [0] and not arm["diverged"] for arm in summary["arms"])
    treatments = [arm["arm"] for arm in summary["arms"][1:]]
    of_arms = [f"{kind}_{arm}.png" for arm in treatments for kind in ("curves", "difference")]
    assert summary["pictures"] == ["effects.png", *of_arms]
    assert all(arm["difference"]["paired"]["order"] for arm in summary["arms"][1:])
