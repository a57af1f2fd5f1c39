"""The process that trains: ``python -m betterdl_cli.training.worker FD DEVICE THREADS ENGINE``.

Reads one JSON request per line from standard input, writes one JSON message per line to file descriptor FD.
What it prints goes to its log. It ends when its standard input ends, so it never outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from importlib.metadata import version
from typing import IO, TYPE_CHECKING, Any

from betterdl_cli.spec import ArmSpec, canonical_digest
from betterdl_cli.store import ExperimentDirectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from betterdl_cli.training.outcome import Trained

REPORT_EVERY = 0.1  # seconds between messages about epochs
PR_SET_PDEATHSIG = 1  # Linux: be killed when the parent dies, even while a C library holds the interpreter


def main(arguments: list[str]) -> None:
    """Serve training requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    requests = _die_with_parent()
    messages = os.fdopen(int(arguments[0]), "w", encoding="utf-8", buffering=1)
    try:
        environment = set_up_tensorflow(arguments[1], int(arguments[2]), *arguments[3:])
    except DeviceError as error:
        _send(messages, event="refused", message=str(error))
        return
    _send(messages, event="ready", environment=environment)
    while True:
        request = requests.get()
        try:
            if "seeds" in request:
                _train_group(request, environment, messages)
            else:
                _train(request, environment, messages)
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            lines = str(error).strip().splitlines()
            _send(messages, event="failed", error=f"{type(error).__name__}: {lines[0] if lines else ''}"[:500])


def _die_with_parent() -> queue.SimpleQueue[dict[str, Any]]:
    """Requests from standard input; the process exits as soon as that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return requests


class DeviceError(RuntimeError):
    """The device asked for is not there."""


def set_up_tensorflow(device: str, threads: int, engine: str = "fit") -> dict[str, Any]:
    """Choose the device ('cpu', 'gpu' or 'auto') and pin the threads, before anything is computed.

    Returns what decides the bits beside the spec and the seed. Raises :class:`DeviceError`.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):  # would shorten trainings in silence
        os.environ.pop(name, None)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import keras
    import tensorflow as tf

    keras.config.set_floatx("float32")  # whatever ~/.keras/keras.json says
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise DeviceError("expected a GPU (--device gpu), found none that TensorFlow can use; try --device cpu")
    used = "gpu" if gpus and device != "cpu" else "cpu"
    if used == "cpu":
        tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if engine == "fit":  # XLA on CPU is deterministic by itself, and refuses max pooling under this switch
        tf.config.experimental.enable_op_determinism()
    return {
        "engine": engine,
        "backend": "tensorflow",
        "device": used,
        "threads": threads,
        "jit_compile": engine != "fit",
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy", "scikit-learn")},
    }


def _train(request: dict[str, Any], environment: dict[str, Any], messages: IO[str]) -> None:
    """One run by engine ``fit``; answers 'finished'."""
    from betterdl_cli.training.fit import train

    spec = ArmSpec.from_json(request["spec"])
    trained = train(request["arm"], spec, request["seed"], environment, _reporter(messages))
    _store(request, trained, messages)


def _train_group(request: dict[str, Any], environment: dict[str, Any], messages: IO[str]) -> None:
    """A group of seeds by engine ``vectorized``; answers 'finished' for each, then 'done'."""
    from betterdl_cli.training.backends.base import backend_named
    from betterdl_cli.training.checkpoint import Checkpoint
    from betterdl_cli.training.vectorized import Group

    directory, spec = ExperimentDirectory(pathlib.Path(request["directory"])), ArmSpec.from_json(request["spec"])
    seeds = tuple(request["seeds"])
    group = Group(request["arm"], spec, seeds, backend_named("tensorflow"), request["width"])
    identity = canonical_digest([spec.digest, list(seeds), request["width"], environment])
    checkpoint = Checkpoint(directory.checkpoint_path(request["arm"]), identity)
    for trained in group.train(environment, _reporter(messages), checkpoint):
        _store(request, trained, messages)
    checkpoint.remove()
    _send(messages, event="done")


def _reporter(messages: IO[str]) -> Callable[[int], None]:
    """Tells the parent the number of epochs done, not too often."""
    last = 0.0

    def report(epochs: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= REPORT_EVERY:
            last = now
            _send(messages, event="epoch", epochs=epochs)

    return report


def _store(request: dict[str, Any], trained: Trained, messages: IO[str]) -> None:
    arrays = {}
    if request["store"]["predictions"]:
        arrays["predictions"] = trained.predictions
    if request["store"]["weights"]:
        arrays["weights"] = trained.weights
    directory = ExperimentDirectory(pathlib.Path(request["directory"]))
    record = directory.write_run(trained.record, trained.history, arrays)
    _send(messages, event="finished", record=json.loads(record.model_dump_json(by_alias=True)))


def _send(messages: IO[str], **message: Any) -> None:
    try:
        messages.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
