"""The process that trains: ``python -m betterdl_cli.training.worker FD BACKEND DEVICE THREADS``.

Reads one JSON request per line from standard input, writes one JSON message per line to file descriptor FD; the last
answer to a request is 'done' or 'failed'. What it prints goes to its log. It ends when its standard input ends, so it
never outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import queue
import signal
import sys
import threading
import time
import traceback
from typing import IO, TYPE_CHECKING, Any

from betterdl_cli.spec import ArmSpec, canonical_digest
from betterdl_cli.store import ExperimentDirectory
from betterdl_cli.training.environment import DeviceError, enter_engine, set_up
from betterdl_cli.training.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from betterdl_cli.training.outcome import Trained
    from betterdl_cli.training.vectorized import Programs

REPORT_EVERY = 0.1  # seconds between messages about epochs
PR_SET_PDEATHSIG = 1  # Linux: be killed when the parent dies, even while a C library holds the interpreter
NO_MEMORY = ("ResourceExhaustedError", "RESOURCE_EXHAUSTED", "Out of memory", "MemoryError", "bad_alloc")


def main(arguments: list[str]) -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    requests = _die_with_parent()
    messages = os.fdopen(int(arguments[0]), "w", encoding="utf-8", buffering=1)
    backend, device, threads = arguments[1:]
    try:
        environment = set_up(Setting("jax" if backend == "jax" else "tensorflow", device, int(threads)))
    except DeviceError as error:
        _send(messages, event="refused", message=str(error))
        return
    _send(messages, event="ready", environment=environment)
    desk = Desk(environment, messages)
    while True:
        request = requests.get()
        try:
            {"prepare": desk.prepare, "fit": desk.fit, "group": desk.group}[request["do"]](request)
            _send(messages, event="done")
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            _send(messages, event="failed", error=in_one_line(error), out_of_memory=is_out_of_memory(error))


def in_one_line(error: Exception) -> str:
    """The class and the first line of an exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, TensorFlow or JAX means that memory ran out."""
    return any(sign in f"{type(error).__name__}: {error}" for sign in NO_MEMORY)


class Desk:
    """Answers requests, one after the other."""

    def __init__(self, environment: dict[str, Any], messages: IO[str]) -> None:
        self._environment, self._messages = environment, messages
        self._programs: Programs | None = None

    def prepare(self, request: dict[str, Any]) -> None:
        """Find out whether engine ``vectorized`` can train an arm: 'prepared' with the seeds at once, or 'refused'.

        Where memory runs out, half the seeds are tried. Raises nothing that the arm is to blame for.
        """
        spec, seeds, width = ArmSpec.from_json(request["spec"]), tuple(request["seeds"]), request["width"]
        while True:
            self._programs = None if width < request["width"] else self._programs  # give back what was too much
            try:
                width = self._compiled().prepare(request["arm"], spec, seeds, width, request["memory"])
            except Exception as error:
                traceback.print_exc()
                sys.stderr.flush()
                if is_out_of_memory(error) and width > 1:
                    width //= 2
                    continue
                _send(self._messages, event="refused", error=in_one_line(error))
                return
            _send(self._messages, event="prepared", width=width)
            return

    def fit(self, request: dict[str, Any]) -> None:
        """One run by engine ``fit``: 'finished'."""
        from betterdl_cli.training.fit import train

        self._programs = None
        environment = enter_engine("fit", self._environment)
        spec = ArmSpec.from_json(request["spec"])
        self._store(request, train(request["arm"], spec, request["seeds"][0], environment, self._reporter()))

    def group(self, request: dict[str, Any]) -> None:
        """A group of seeds by engine ``vectorized``: 'finished' for each."""
        from betterdl_cli.training.checkpoint import Checkpoint

        environment = {**enter_engine("vectorized", self._environment), "width": request["width"]}
        spec, seeds = ArmSpec.from_json(request["spec"]), tuple(request["seeds"])
        group = self._compiled().group(request["arm"], spec, seeds, request["width"])
        directory = ExperimentDirectory(pathlib.Path(request["directory"]))
        identity = canonical_digest([spec.digest, list(seeds), environment])
        checkpoint = Checkpoint(directory.checkpoint_path(request["arm"], seeds[0]), identity)
        for trained in group.train(environment, self._reporter(), checkpoint):
            self._store(request, trained)
        checkpoint.remove()

    def _compiled(self) -> Programs:
        if self._programs is None:
            from betterdl_cli.training.backends.base import backend_named
            from betterdl_cli.training.vectorized import Programs

            self._programs = Programs(backend_named(self._environment["backend"]))
        return self._programs

    def _reporter(self) -> Callable[[int], None]:
        """Tells the parent the number of epochs done, not too often."""
        last = 0.0

        def report(epochs: int) -> None:
            nonlocal last
            if (now := time.monotonic()) - last >= REPORT_EVERY:
                last = now
                _send(self._messages, event="epoch", epochs=epochs)

        return report

    def _store(self, request: dict[str, Any], trained: Trained) -> None:
        arrays = {}
        if request["store"]["predictions"]:
            arrays["predictions"] = trained.predictions
        if request["store"]["weights"]:
            arrays["weights"] = trained.weights
        directory = ExperimentDirectory(pathlib.Path(request["directory"]))
        record = directory.write_run(trained.record, trained.history, arrays)
        _send(self._messages, event="finished", record=json.loads(record.model_dump_json(by_alias=True)))


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


def _send(messages: IO[str], **message: Any) -> None:
    try:
        messages.write(json.dumps(message) + "\n")
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
