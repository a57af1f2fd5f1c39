"""Engines side by side on the lessons: the course way, ``fit``, and ``vectorized`` on TensorFlow and on JAX.

    python benchmarks/engines.py [--recipe NAME]... [--repeats 3] [--markdown FILE]

For each recipe, 10 seeds × 2 arms, in one run and in turn:

* the course way: a plain Keras script on numpy arrays, ``model.fit`` for one seed after the other. Its time per epoch
  is measured on a few epochs of one seed (the first five left out) and scaled; importing and the first epochs are
  added;
* engine ``fit``: the whole process for one seed at two lengths, scaled to all epochs and seeds;
* engine ``vectorized``: the whole process, all epochs and seeds, nothing scaled and nothing cached: ``bdl run`` from
  start-up to pictures. Of this, the training itself is shown apart; the rest is start-up, compiling, scoring and
  pictures.

Ratios are course way / vectorized, the median over repeats. JAX is left out, and that is said, where it is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[1]
SEEDS = 10


@dataclass(frozen=True)
class Recipe:
    """``course``: arms of the course way as (layers between input and output, batch size, optimizer, loss)."""

    config: str
    overrides: tuple[str, ...]
    epochs: int
    measured: int  # epochs of the course way that are measured
    short: tuple[int, int]  # two lengths for engine fit
    target: float


RECIPES = {
    "lesson 4": Recipe("lesson04_batch_norm.yaml", (), 300, 30, (20, 60), 60),
    "lesson 5": Recipe(
        "lesson05_weight_regularization.yaml", ("techniques={l2: {l2: 0.01}}",), 4000, 60, (50, 250), 200
    ),
    "lesson 2, batch size 1": Recipe(
        "lesson02_batch_size.yaml",
        ("training.batch_size=32", "techniques={batch_size: {size: 1}}"),
        1000,
        8,
        (2, 6),
        60,
    ),
    "digits CNN": Recipe(
        "digits_cnn_dropout.yaml",
        ("techniques={}", "arms={both: {batch_norm: {}, dropout: {rate: 0.25}}}"),
        30,
        12,
        (5, 15),
        2,
    ),
}

# What a learner writes: numpy arrays in, model.fit, one seed. Prints seconds: importing, five epochs, each later one.
COURSE = """
import json, sys, time
began = time.perf_counter()
import keras
import numpy as np
from sklearn.datasets import load_digits, make_circles
from sklearn.model_selection import train_test_split
keras.utils.set_random_seed(0)
imported = time.perf_counter() - began
name, treated, epochs = sys.argv[1], sys.argv[2] == "with", int(sys.argv[3])
layers, regularizers = keras.layers, keras.regularizers
batch, rate = 32, {"learning_rate": 0.01, "momentum": 0.9}
if name == "digits CNN":
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
    x, _, y, _ = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    x, val_x, y, val_y = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    stack = [keras.Input((8, 8, 1))]
    for filters in (16, 32):
        stack.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        if treated:
            stack.append(layers.BatchNormalization())
        stack.append(layers.MaxPooling2D())
        if treated:
            stack.append(layers.Dropout(0.25))
    stack += [layers.Flatten(), layers.Dense(10, activation="softmax")]
    model, loss, optimizer = keras.Sequential(stack), "sparse_categorical_crossentropy", keras.optimizers.Adam()
elif name == "lesson 5":
    x, y = make_circles(n_samples=100, noise=0.1, random_state=1)
    x, val_x, y, val_y = x[:30], x[30:], y[:30], y[30:]
    penalty = regularizers.L2(0.01) if treated else None
    stack = [keras.Input((2,)), layers.Dense(500, activation="relu", kernel_regularizer=penalty)]
    stack.append(layers.Dense(1, activation="sigmoid"))
    model, loss, optimizer = keras.Sequential(stack), "binary_crossentropy", keras.optimizers.Adam()
else:
    x, y = make_circles(n_samples=1000, noise=0.1, random_state=1)
    x, val_x, y, val_y = x[:500], x[500:], y[:500], y[500:]
    stack = [keras.Input((2,)), layers.Dense(50, activation="relu")]
    if name == "lesson 4" and treated:
        stack.append(layers.BatchNormalization())
    if name == "lesson 2, batch size 1" and treated:
        batch = 1
    stack.append(layers.Dense(1, activation="sigmoid"))
    model, loss, optimizer = keras.Sequential(stack), "binary_crossentropy", keras.optimizers.SGD(**rate)
class Clock(keras.callbacks.Callback):
    ends = []
    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())
began = time.perf_counter()
model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])
model.fit(x, y, validation_data=(val_x, val_y), epochs=epochs, batch_size=batch, verbose=0, callbacks=[Clock()])
ends = Clock.ends
warm = 5
print(json.dumps([imported, ends[warm - 1] - began, (ends[-1] - ends[warm - 1]) / (epochs - warm)]))
"""


def environment(backend: str = "tensorflow", cache: str = "") -> dict[str, str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": backend}
    return {**os.environ, **quiet, **({"XDG_CACHE_HOME": cache} if cache else {})}


def answer(command: list[str], **options: object) -> str:
    """Standard output of a process that must end well."""
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    return str(done.stdout)


def course_way(name: str, recipe: Recipe) -> dict[str, float]:
    """Seconds for all seeds of both arms, scaled."""
    total, per_epoch = 0.0, []
    imported = 0.0
    for arm in ("without", "with"):
        command = [sys.executable, "-c", COURSE, name, arm, str(recipe.measured)]
        imported, first, later = json.loads(answer(command, env=environment()).splitlines()[-1])
        total += SEEDS * (first + later * (recipe.epochs - 5))
        per_epoch.append(later)
    return {"total": imported + total, "per epoch": statistics.mean(per_epoch)}


def bdl(recipe: Recipe, engine: str, *overrides: str, backend: str = "tensorflow") -> dict[str, float]:
    """One whole ``bdl run`` in a fresh directory: its seconds, and the seconds of its runs added up."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "betterdl_cli", "run", str(ROOT / "configs" / recipe.config)]
        command += [*recipe.overrides, *overrides, "--runs", folder, "--engine", engine, "--backend", backend, "--json"]
        began = time.perf_counter()
        summary = json.loads(answer(command, env=environment(backend, folder)))
        whole = time.perf_counter() - began
        training = sum(arm["seconds"]["mean"] * len(arm["seeds"]) for arm in summary["arms"])
        return {"total": whole, "training": training, "arms": len(summary["arms"])}


def fit_scaled(recipe: Recipe) -> dict[str, float]:
    """Engine ``fit``: all seeds and epochs, from two short experiments of one seed."""
    short, long = (bdl(recipe, "fit", f"training.epochs={epochs}", "seeds=1") for epochs in recipe.short)
    slope = (long["training"] - short["training"]) / (recipe.short[1] - recipe.short[0])
    run = short["training"] + slope * (recipe.epochs - recipe.short[0])
    return {"total": short["total"] - short["training"] + SEEDS * run, "per epoch": slope / short["arms"]}


def measure(name: str, recipe: Recipe, backends: list[str]) -> dict[str, dict[str, float]]:
    found = {"course way": course_way(name, recipe), "fit": fit_scaled(recipe)}
    for backend in backends:
        found[f"vectorized, {backend}"] = bdl(recipe, "vectorized", f"seeds={SEEDS}", backend=backend)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", action="append", choices=list(RECIPES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", type=pathlib.Path)
    options = parser.parse_args()
    backends = ["tensorflow", *(["jax"] if importlib.util.find_spec("jax") else [])]
    if len(backends) == 1:
        print("JAX is not installed: its rows are left out")
    lines = [
        "| recipe (10 seeds × 2 arms) | epochs | course way (scaled) | fit (scaled) | vectorized | of it training "
        "| course way ÷ vectorized | target |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in options.recipe or RECIPES:
        recipe = RECIPES[name]
        rounds = [measure(name, recipe, backends) for _ in range(options.repeats)]
        for backend in backends:
            key = f"vectorized, {backend}"
            ratio = statistics.median(found["course way"]["total"] / found[key]["total"] for found in rounds)

            def median(which: str, part: str = "total", rounds: list[dict[str, dict[str, float]]] = rounds) -> float:
                return statistics.median(found[which][part] for found in rounds)

            lines.append(
                f"| {name}, {backend} | {recipe.epochs} | {median('course way'):.0f} s | {median('fit'):.0f} s "
                f"| {median(key):.1f} s | {median(key, 'training'):.1f} s | {ratio:.0f} | {recipe.target:.0f} |"
            )
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
