"""Stored experiments with made-up runs: what reading, comparing and reporting need, without any training."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from betterdl_cli.config.loading import load
from betterdl_cli.expand import Arm
from betterdl_cli.history import History
from betterdl_cli.record import BestEpoch, Fingerprints, RunRecord
from betterdl_cli.store import ExperimentDirectory, Plan

CONFIG: dict[str, Any] = {
    "name": "made-up",
    "data": {"kind": "make_circles", "n_samples": 100, "split": {"train": 60, "validation": 20, "test": 20}},
    "model": {"kind": "mlp", "hidden": [8]},
    "training": {"optimizer": {"kind": "sgd", "learning_rate": 0.1}, "epochs": 3, "batch_size": 16},
    "techniques": {"dropout": {"rate": 0.2}},
    "seeds": 3,
}
ENVIRONMENT: dict[str, Any] = {
    "engine": "fit",
    "backend": "tensorflow",
    "device": "cpu",
    "threads": 1,
    "jit_compile": False,
    "machine": "x86_64",
    "versions": {"keras": "3.15.1", "tensorflow": "2.21.0"},
}


def config_with(**changes: Any) -> dict[str, Any]:
    """CONFIG with other values at dotted paths: ``config_with(**{"training.epochs": 5})``."""
    changed = json.loads(json.dumps(CONFIG))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = changed
        for parent in parents:
            place = place[parent]
        place[last] = value
    return changed


def write_config(folder: pathlib.Path, config: Mapping[str, Any] = CONFIG, name: str = "config.yaml") -> pathlib.Path:
    path = folder / name
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


class Stored:
    """An experiment in a folder of runs, to which runs are added."""

    def __init__(self, root: pathlib.Path, config: Mapping[str, Any] = CONFIG, *, smoke: bool = False) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.loaded = load(write_config(root, config), smoke=smoke)
        self.directory = ExperimentDirectory(root / self.loaded.experiment.directory_name)
        with self.directory.locked():
            self.plan: Plan = self.directory.plan_for(self.loaded.experiment, self.loaded.arms)
            self.directory.write_plan(self.plan, self.loaded.experiment)

    @property
    def name(self) -> str:
        return self.directory.path.name

    @property
    def path(self) -> pathlib.Path:
        return self.directory.path

    def arm(self, name: str) -> Arm:
        return self.plan.arm(name)

    def add(self, arm: str, accuracies: Sequence[float | None], **changes: Any) -> None:
        """Runs of seeds 0, 1, … that end with these test accuracies."""
        for seed, accuracy in enumerate(accuracies):
            self.add_run(arm, seed, accuracy, **changes)

    def add_run(
        self,
        arm: str,
        seed: int,
        accuracy: float | None = 0.8,
        *,
        epochs: int = 3,
        diverged: int | None = None,
        split: str = "split",
        order: tuple[str, ...] = ("first", "second", "third"),
        weights: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> RunRecord:
        loss = None if accuracy is None else round(1 - accuracy, 6)
        scores = {part: {"loss": loss, "accuracy": accuracy} for part in ("train", "validation", "test")}
        record = RunRecord(
            arm=arm,
            seed=seed,
            spec=self.arm(arm).spec.digest,
            status="completed" if diverged is None else "diverged",
            epochs=epochs,
            diverged_epoch=diverged,
            scores=scores,
            best=BestEpoch(epoch=max(epochs - 1, 1), selected_on="val_loss", scores=scores),
            parameters=33,
            rows={"train": 60, "validation": 20, "test": 20},
            fingerprints=Fingerprints(
                split=split, order=order, weights=dict(weights or {"hidden_1": "h", "output": f"o{seed}"})
            ),
            seconds=2.0,
            environment=ENVIRONMENT,
        )
        end = 0.2 if accuracy is None else 1 - accuracy
        curve = np.linspace(0.7, end, epochs)
        history = History(
            {"loss": curve, "accuracy": 1 - curve, "val_loss": curve + 0.05, "val_accuracy": 0.95 - curve}
        )
        return self.directory.write_run(
            record.model_copy(update=changes), history, {"predictions": {"test": np.zeros((2, 1), np.float32)}}
        )

    def add_failure(self, arm: str, seed: int, error: str = "ResourceExhaustedError: no memory") -> None:
        record = RunRecord(arm=arm, seed=seed, spec=self.arm(arm).spec.digest, status="failed", error=error)
        self.directory.write_failure(record, "what the worker printed\n")
