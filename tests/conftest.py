"""What every test shares: a quiet CPU, and the smallest config that is valid."""

from __future__ import annotations

import copy
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

# Before any test imports Keras, and inherited by every process that a test starts.
os.environ.update(
    CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0"
)

PLAIN: dict[str, Any] = {
    "name": "t",
    "data": {"kind": "make_circles", "n_samples": 100, "split": {"train": 60, "validation": 20, "test": 20}},
    "model": {"kind": "mlp", "hidden": [8]},
    "training": {"optimizer": {"kind": "sgd", "learning_rate": 0.1}, "epochs": 5, "batch_size": 16},
}

CONFIG = """\
name: t
data: {kind: make_circles, n_samples: 100, split: {train: 60, validation: 20, test: 20}}
model: {kind: mlp, hidden: [8]}
training: {optimizer: {kind: sgd, learning_rate: 0.1}, epochs: 5, batch_size: 16}
techniques:
  dropout: {rate: 0.2}
seeds: 3
"""


@pytest.fixture
def plain() -> dict[str, Any]:
    """A valid config as plain data, without techniques, free to be changed."""
    return copy.deepcopy(PLAIN)


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here: pathlib.Path) -> Callable[..., pathlib.Path]:
    """``write("rate: 0.2", "rate: 2")`` makes ``c.yaml`` in the working directory: CONFIG with replacements."""

    def write(*replacements: str) -> pathlib.Path:
        text = CONFIG
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text, f"not in CONFIG: {old}"
            text = text.replace(old, new)
        (here / "c.yaml").write_text(text, encoding="utf-8")
        return pathlib.Path("c.yaml")

    return write
