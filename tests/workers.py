"""One training process for all tests that need one, because starting TensorFlow takes seconds."""

import atexit
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker


def shared_worker(engine: str = "fit") -> Worker:
    """A ready worker for one of the engines, as a process stays with the first it trained by; do not end it."""
    return _started(engine)[0]


def environment(engine: str = "fit") -> dict[str, Any]:
    """What the shared worker trains in."""
    return _started(engine)[1]


@functools.cache
def _started(engine: str) -> tuple[Worker, dict[str, Any]]:
    descriptor, log = tempfile.mkstemp(prefix="bdl-test-worker-")
    os.close(descriptor)
    worker = Worker(Setting(device="cpu"), pathlib.Path(log))
    atexit.register(worker.close)
    return worker, worker.wait_until_ready()


class BorrowedWorker:
    """Stands in for :class:`Worker` where a command would start one of its own."""

    engine = "fit"

    def __init__(self, setting: Setting, log: pathlib.Path) -> None:
        assert (setting.backend, setting.device in {"auto", "cpu"}, setting.threads) == ("tensorflow", True, 1)
        log.write_bytes(b"")
        self._log = log
        environment(self.engine)

    def wait_until_ready(self) -> dict[str, Any]:
        return environment(self.engine)

    def close(self) -> None:
        self._log.unlink(missing_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_worker(self.engine), name)


class BorrowedCompiler(BorrowedWorker):
    """The same for engine ``vectorized``."""

    engine = "vectorized"


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What ``condition`` returns as soon as that is true. Fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} seconds in vain")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = pathlib.Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
