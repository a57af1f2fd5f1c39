"""``bdl run --engine vectorized`` from a shell."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

CONFIG = """\
name: quick
data: {kind: make_circles, n_samples: 100, split: {train: 60, validation: 20, test: 20}}
model: {kind: mlp, hidden: [8]}
training: {optimizer: {kind: sgd, learning_rate: 0.1}, epochs: 12, batch_size: 16}
techniques:
  dropout: {rate: 0.2}
seeds: 3
"""


def start(folder: pathlib.Path, *words: str) -> "subprocess.Popen[str]":
    (folder / "c.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "betterdl_cli", "run", "c.yaml", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: pathlib.Path, *words: str) -> tuple[int, str, str]:
    process = start(folder, *words)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def bytes_of_runs(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("seed-*/*")
        if path.name in {"history.json", "weights.npz", "predictions.npz"}
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("vectorized")
    code, out, err = run(folder, "--engine", "vectorized", "--json")
    assert code == 0, err
    return folder, json.loads(out)


def test_the_summary_names_the_engine(finished: tuple[pathlib.Path, dict[str, Any]]) -> None:
    assert finished[1]["environment"]["engine"] == "vectorized"


def test_all_seeds_of_all_arms_are_there(finished: tuple[pathlib.Path, dict[str, Any]]) -> None:
    assert [(arm["arm"], arm["seeds"]) for arm in finished[1]["arms"]] == [
        ("control", [0, 1, 2]),
        ("dropout", [0, 1, 2]),
    ]


def test_no_checkpoint_is_left(finished: tuple[pathlib.Path, dict[str, Any]]) -> None:
    assert not list(finished[0].rglob(".checkpoint*"))


def test_another_engine_does_not_continue_it(finished: tuple[pathlib.Path, dict[str, Any]]) -> None:
    code, _, err = run(finished[0], "--engine", "fit", "seeds=4")
    assert code == 2
    assert "engine vectorized → fit" in err


def test_killed_and_continued_it_ends_with_the_same_bytes(
    finished: tuple[pathlib.Path, dict[str, Any]], tmp_path: pathlib.Path
) -> None:
    process = start(tmp_path, "--engine", "vectorized")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/arms/control/seed-*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("runs/*/arms/dropout/seed-2/run.json"))
    code, _, err = run(tmp_path, "--engine", "vectorized")
    assert code == 0, err
    assert bytes_of_runs(tmp_path) == bytes_of_runs(finished[0])


def test_two_jobs_give_the_bytes_of_one(finished: tuple[pathlib.Path, dict[str, Any]], tmp_path: pathlib.Path) -> None:
    code, _, err = run(tmp_path, "--jobs", "2")
    assert code == 0, err
    assert bytes_of_runs(tmp_path) == bytes_of_runs(finished[0])
    assert not list(tmp_path.rglob(".worker*"))


@pytest.mark.slow
def test_twenty_kills_in_a_row_end_with_the_bytes_of_an_undisturbed_run(tmp_path: pathlib.Path) -> None:
    words = (
        "seeds=10", "training.epochs=40000", "training.batch_size=4", "model.hidden=[200]",
        "techniques={batch_norm: {}, dropout: {rate: 0.2}}",
    )  # fmt: skip
    folders = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    assert run(folders[0], *words)[0] == 0
    chance, checkpoints = random.Random(20), 0
    for _ in range(20):
        process = start(folders[1], *words)
        time.sleep(chance.uniform(4, 20))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        checkpoints += bool(list(folders[1].rglob(".checkpoint*")))
    code, _, err = run(folders[1], *words)
    assert code == 0, err
    assert checkpoints >= 5, "the kills fell in no training"
    assert bytes_of_runs(folders[1]) == bytes_of_runs(folders[0])
    assert not list(folders[1].rglob(".checkpoint*"))
