import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from specs import DIGITS, spec
from workers import is_alive, shared_worker, wait_for


class RawWorker:
    """The process by itself, without the parent's side."""

    def __init__(self, folder: pathlib.Path, **variables: str) -> None:
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "betterdl_cli.training.worker", str(write_end), "tensorflow", "cpu", "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(write_end,),
            env={**os.environ, **variables},
        )
        os.close(write_end)
        self.messages = os.fdopen(read_end, encoding="utf-8")
        self.folder = folder

    def ask(self, **request: Any) -> None:
        assert self.process.stdin is not None
        store = {"predictions": True, "weights": True}
        run = {"do": "fit", "arm": "control", "seeds": [3], "directory": str(self.folder), "store": store}
        request = {**run, **request}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """The next message of a kind."""
        return next(message for line in self.messages if (message := json.loads(line))["event"] == event)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.messages.close()
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawWorker]:
    """A worker in an environment that would have Keras compute something else."""
    home = tmp_path_factory.mktemp("keras")
    (home / "keras.json").write_text(
        '{"floatx": "float64", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}'
    )
    worker = RawWorker(
        tmp_path_factory.mktemp("runs"),
        KERAS_HOME=str(home),
        KERAS_BACKEND="jax",
        KERAS_MAX_EPOCHS="1",
        KERAS_MAX_STEPS_PER_EPOCH="1",
    )
    yield worker
    worker.close()


def test_settings_of_the_users_keras_do_not_change_the_numbers(misled: RawWorker, tmp_path: pathlib.Path) -> None:
    arm = spec(DIGITS, model="cnn", epochs=2, batch_size=32, techniques={"batch_norm": {}})
    assert misled.hear("ready")["environment"]["backend"] == "tensorflow"
    misled.ask(spec=arm.to_json())
    found = misled.hear("finished")["record"]
    store = {"predictions": True, "weights": True}
    request = {"do": "fit", "arm": "control", "seeds": [3], "directory": str(tmp_path), "store": store}
    *_, last, _ = shared_worker().ask({**request, "spec": arm.to_json()})
    assert {**found, "seconds": 0} == {**last["record"], "seconds": 0}  # digests of all files in it
    assert found["epochs"] == 2


def test_a_worker_ends_when_its_input_ends_whatever_it_is_doing(misled: RawWorker) -> None:
    misled.ask(spec=spec(epochs=1_000_000).to_json())
    misled.hear("epoch")
    assert misled.process.stdin is not None
    misled.process.stdin.close()
    wait_for(lambda: not is_alive(misled.process.pid), seconds=2.0)
    assert misled.process.wait() == 0
