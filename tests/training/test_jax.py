"""Both engines on JAX, in a worker to which TensorFlow cannot be imported."""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from specs import DIGITS, spec, with_techniques

from betterdl_cli.spec import ArmSpec
from betterdl_cli.techniques.base import TECHNIQUES
from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker

STORE = {"predictions": True, "weights": True}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("no-tensorflow")
    (folder / "tensorflow.py").write_text('raise ImportError("TensorFlow was imported")\n')
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        worker = Worker(Setting(backend="jax", device="cpu"), folder / "log")
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def environment(worker: Worker) -> dict[str, Any]:
    return worker.wait_until_ready()


def ask(worker: Worker, folder: pathlib.Path, do: str, arm: ArmSpec, *seeds: int) -> list[dict[str, Any]]:
    common = {"arm": "arm", "spec": arm.to_json(), "directory": str(folder), "store": STORE}
    return list(worker.ask({"do": do, "seeds": seeds, "width": 2, "memory": 1e12, **common}))


def history(folder: pathlib.Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / "arms/arm/seed-3/history.json").read_text())
    return found


def test_the_environment_names_jax_and_no_tensorflow(environment: dict[str, Any]) -> None:
    assert (environment["backend"], environment["device"]) == ("jax", "cpu")
    assert {"keras", "jax", "jaxlib", "numpy"} <= set(environment["versions"])
    assert "tensorflow" not in environment["versions"]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", TECHNIQUES.names)
def test_every_technique_trains_alike_in_both_engines(worker: Worker, tmp_path: pathlib.Path, name: str) -> None:
    arm = with_techniques(spec(), {name: TECHNIQUES.get(name).example})
    for engine, seeds in (("fit", (3,)), ("group", (3, 5))):
        answers = ask(worker, tmp_path / engine, engine, arm, *seeds)
        assert answers[-1]["event"] == "done", answers[-1]
    ours, theirs = history(tmp_path / "group"), history(tmp_path / "fit")
    assert list(ours) == list(theirs)
    for metric, values in theirs.items():
        np.testing.assert_allclose(ours[metric], values, rtol=1e-4, atol=1e-6, err_msg=metric)


@pytest.mark.usefixtures("environment")
def test_a_convolutional_network_trains_alike(worker: Worker, tmp_path: pathlib.Path) -> None:
    arm = spec(DIGITS, model="cnn", techniques={"normalize_inputs": {"kind": "minmax"}})
    for engine, seeds in (("fit", (3,)), ("group", (3, 5))):
        assert ask(worker, tmp_path / engine, engine, arm, *seeds)[-1]["event"] == "done"
    np.testing.assert_allclose(history(tmp_path / "group")["loss"], history(tmp_path / "fit")["loss"], rtol=1e-4)


@pytest.mark.usefixtures("environment")
def test_the_same_seed_gives_the_same_bits(worker: Worker, tmp_path: pathlib.Path) -> None:
    arm = spec(techniques={"dropout": {"rate": 0.3}})
    for engine in ("fit", "group"):
        for time in ("first", "second"):
            ask(worker, tmp_path / engine / time, engine, arm, 3)
        files = [
            (tmp_path / engine / time / "arms/arm/seed-3/history.json").read_bytes() for time in ("first", "second")
        ]
        assert files[0] == files[1]


@pytest.mark.usefixtures("environment")
def test_what_can_be_compiled_is_prepared(worker: Worker, tmp_path: pathlib.Path) -> None:
    assert ask(worker, tmp_path, "prepare", spec(), 3, 5) == [{"event": "prepared", "width": 2}, {"event": "done"}]
