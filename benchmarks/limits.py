"""How near engine ``vectorized`` is to what the hardware gives, and how its time and memory grow with the seeds.

    python benchmarks/limits.py loop [REPEATS]     steady state of lesson 4 against a hand-written JAX loop, in turn
    python benchmarks/limits.py growth             whole processes of lesson 4 with 1 to 100 seeds: seconds, memory

The loop is what a specialist would write for this one lesson: two dense layers and batch normalisation by hand, SGD
with momentum, ten seeds by ``vmap``, epochs and batches by ``lax.scan``, Keras's running loss and accuracy, and the
validation of every epoch. It has no controllers, no best epoch, no checkpoints and no stopping of single seeds.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "lesson04_batch_norm.yaml"
SEEDS, EPOCHS = 10, 300

HAND_WRITTEN = """
import json, sys, time
import jax, jax.numpy as jnp, numpy as np
from jax import lax
from sklearn.datasets import make_circles
x, y = make_circles(n_samples=1000, noise=0.1, random_state=1)
x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
train_x, train_y, val_x, val_y = x[:500], y[:500], x[500:], y[500:]
SEEDS, EPOCHS, BATCH, RATE, MOMENTUM = 10, 300, 32, 0.01, 0.9

def start(key):
    a, b = jax.random.split(key)
    w1 = jax.random.uniform(a, (2, 50), minval=-1, maxval=1) * (6 / 52) ** 0.5
    w2 = jax.random.uniform(b, (50, 1), minval=-1, maxval=1) * (6 / 51) ** 0.5
    weights = dict(w1=w1, b1=jnp.zeros(50), gamma=jnp.ones(50), beta=jnp.zeros(50), w2=w2, b2=jnp.zeros(1))
    return weights, jax.tree.map(jnp.zeros_like, weights), (jnp.zeros(50), jnp.ones(50))

def forward(w, moving, x, training):
    h = jax.nn.relu(x @ w["w1"] + w["b1"])
    mean, var = (h.mean(0), h.var(0)) if training else moving
    if training:
        moving = (moving[0] * 0.99 + mean * 0.01, moving[1] * 0.99 + var * 0.01)
    h = (h - mean) * lax.rsqrt(var + 1e-3) * w["gamma"] + w["beta"]
    return jax.nn.sigmoid(h @ w["w2"] + w["b2"])[:, 0], moving

def score(p, y):
    p = jnp.clip(p, 1e-7, 1 - 1e-7)
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)).mean(), ((p > 0.5) == y).mean()

def step(state, rows):
    w, m, moving = state
    def loss(w):
        p, after = forward(w, moving, train_x[rows], True)
        value, right = score(p, train_y[rows])
        return value, (right, after)
    (value, (right, moving)), g = jax.value_and_grad(loss, has_aux=True)(w)
    m = jax.tree.map(lambda m, g: MOMENTUM * m - RATE * g, m, g)
    return (jax.tree.map(jnp.add, w, m), m, moving), (value * rows.shape[0], right * rows.shape[0])

def epoch(state, order):
    state, sums = lax.scan(step, state, order[:480].reshape(15, BATCH))
    state, last = step(state, order[480:])
    value, right = ((s.sum() + l) / 500 for s, l in zip(sums, last))
    return state, jnp.stack([value, right, *score(forward(state[0], state[2], val_x, False)[0], val_y)])

@jax.jit
def train(states, orders):
    return jax.vmap(lambda state, order: lax.scan(epoch, state, order))(states, orders)

states = jax.vmap(start)(jax.random.split(jax.random.key(0), SEEDS))
rng = np.random.default_rng(0)
orders = np.array([[rng.permutation(500) for _ in range(EPOCHS)] for _ in range(SEEDS)], np.int32)
jax.block_until_ready(train(states, orders))
began = time.perf_counter()
jax.block_until_ready(train(states, orders))
print(json.dumps(time.perf_counter() - began))
"""

OURS = """
import json, pathlib, sys, time
from betterdl_cli.training.environment import set_up
from betterdl_cli.training.setting import Setting
set_up(Setting(sys.argv[2], "cpu", 1))
from betterdl_cli.config.loading import load
from betterdl_cli.training.backends.base import backend_named
from betterdl_cli.training.vectorized import Programs
arm = load(pathlib.Path(sys.argv[1]), (), smoke=False).arms[1]
programs = Programs(backend_named(sys.argv[2]))
programs.group(arm.id, arm.spec, tuple(range(10)), 10).compile()
group = programs.group(arm.id, arm.spec, tuple(range(10)), 10)
print(json.dumps(next(iter(group.train({}, lambda epochs: None))).record.seconds * 10))
"""


def seconds(*command: str) -> float:
    environment = {
        **os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "NPROC": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def loop(repeats: int) -> None:
    """Training of lesson 4's batch_norm arm, 300 epochs, ten seeds, one thread; compiled beforehand."""
    rounds = [
        (seconds(HAND_WRITTEN), *(seconds(OURS, str(CONFIG), backend) for backend in ("jax", "tensorflow")))
        for _ in range(repeats)
    ]
    for name, index in (("JAX", 1), ("TensorFlow", 2)):
        ratio = statistics.median(found[index] / found[0] for found in rounds)
        print(f"vectorized on {name}: {statistics.median(found[index] for found in rounds):.2f} s; {ratio:.2f} times")
    print(f"the hand-written loop: {statistics.median(found[0] for found in rounds):.2f} s (median of {repeats})")


def growth() -> None:
    """Seconds and peak memory of the training process, whole ``bdl run`` of lesson 4, TensorFlow."""
    import psutil

    print("| seeds | seconds | seconds per run | peak memory of the worker |\n| --- | --- | --- | --- |")
    for count in (1, 10, 20, 50, 100):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "betterdl_cli",
                "run",
                str(CONFIG),
                f"seeds={count}",
                "--runs",
                folder,
                "--json",
            ]
            began, peak = time.perf_counter(), 0
            process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                for child in process.children():
                    try:
                        peak = max(peak, child.memory_info().rss)
                    except psutil.NoSuchProcess:
                        continue
                time.sleep(0.02)
            whole = time.perf_counter() - began
            print(f"| {count} | {whole:.1f} | {whole / count / 2:.2f} | {peak / 1e9:.2f} GB |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["growth"]:
        growth()
    elif sys.argv[1:2] == ["loop"]:
        loop(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    else:
        raise SystemExit(__doc__)
