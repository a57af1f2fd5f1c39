"""One or more workers that train side by side; their messages come out as one stream. Imports no Keras."""

from __future__ import annotations

import pathlib
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.training import memory
from betterdl_cli.training.setting import Setting
from betterdl_cli.training.supervisor import Worker, WorkerDiedError
from betterdl_cli.training.units import Unit

WORKER_BYTES = 1_200_000_000  # of a process that imported TensorFlow and compiled a small program


@dataclass(frozen=True)
class Died:
    """In place of a worker's answer; ``log`` is what it printed."""

    how: str
    out_of_memory: bool
    log: str


@dataclass(frozen=True)
class Task:
    """A request to a worker about a unit. Those of one arm go to the same worker where that costs nobody a wait."""

    request: dict[str, Any]
    unit: Unit

    @property
    def home(self) -> str:
        return self.unit[0].id


Heard = tuple[int, Task | None, dict[str, Any] | Died | BdlError]  # job, task, answer


class Crew:
    """``jobs`` long-lived workers. Use as a context manager: at its end they are killed, whatever they do."""

    def __init__(self, setting: Setting, jobs: int, folder: pathlib.Path) -> None:
        """Start the processes without waiting for them.

        Raises :class:`UsageError` when ``jobs`` workers do not fit in memory.
        """
        fitting = max(1, memory.available() // WORKER_BYTES)
        if jobs > fitting:
            raise UsageError(
                f"--jobs {jobs}: each training process needs about {WORKER_BYTES / 1e9:.1f} GB of memory, and "
                f"{memory.available() / 1e9:.1f} GB are free: expected at most {fitting}"
            )
        self._setting = setting
        self._logs = [folder / (".worker.log" if job == 0 else f".worker-{job + 1}.log") for job in range(jobs)]
        self._workers: list[Worker | None] = [None] * jobs
        self._homes: dict[str, int] = {}
        self._waiting: deque[Task] = deque()
        self._flying = 0  # tasks that workers have begun
        self._lock = threading.Lock()  # of the two

    def __enter__(self) -> Crew:
        try:
            for job in range(len(self._workers)):
                self._workers[job] = Worker(self._setting, self._logs[job])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.recall()
        for job, log in enumerate(self._logs):
            self._close_worker(job)
            log.unlink(missing_ok=True)  # an interrupt may come before there is a worker to close

    @property
    def memory(self) -> float:
        """Bytes that one worker's training may take, with a fifth left free."""
        return 0.8 * memory.available() / len(self._workers)

    def wait_until_ready(self) -> dict[str, Any]:
        """The environment that all workers train in. Raises what :meth:`Worker.wait_until_ready` raises.

        A worker that dies on its way is started once more.
        """
        first, *_ = [self._ready(job) for job in range(len(self._workers))]
        return first

    def _ready(self, job: int) -> dict[str, Any]:
        worker = self._workers[job]
        assert worker is not None
        try:
            return worker.wait_until_ready()
        except UsageError:
            raise
        except BdlError:
            self._close_worker(job)
            worker = self._workers[job] = Worker(self._setting, self._logs[job])
            return worker.wait_until_ready()

    def work(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any] | Died]]:
        """Do all tasks, in this order as far as workers are free, and yield every message of each.

        The first message of a task is 'begins', the last one 'failed' (with the ``log`` of the worker), 'done', or a
        :class:`Died`. A dead worker is replaced when there is more to do. Raises :class:`BdlError` when a replacement
        does not start.
        """
        self._waiting, heard = deque(tasks), queue.SimpleQueue[Heard]()
        for job in range(min(len(self._workers), len(tasks))):
            self._start_serving(job, heard)
        while self._unfinished():
            job, task, answer = heard.get()
            if isinstance(answer, BdlError):
                raise answer
            assert task is not None
            if isinstance(answer, Died):
                self._close_worker(job)
                if self._waiting:
                    self._start_serving(job, heard)
            if isinstance(answer, Died) or answer["event"] in {"done", "failed"}:
                with self._lock:
                    self._flying -= 1
            yield task, answer

    def recall(self) -> list[Task]:
        """Take back the tasks that no worker has begun."""
        with self._lock:
            tasks = list(self._waiting)
            self._waiting.clear()
        return tasks

    def _unfinished(self) -> bool:
        with self._lock:
            return bool(self._waiting) or self._flying > 0

    def _start_serving(self, job: int, heard: queue.SimpleQueue[Heard]) -> None:
        """Let a thread hand tasks to a worker until none waits.

        The process is started here and not there: on Linux a child dies with the thread that made it.
        """
        fresh = (worker := self._workers[job]) is None
        if worker is None:
            worker = self._workers[job] = Worker(self._setting, self._logs[job])
        threading.Thread(target=self._serve, args=(job, worker, fresh, heard), daemon=True).start()

    def _serve(self, job: int, worker: Worker, fresh: bool, heard: queue.SimpleQueue[Heard]) -> None:
        task = None
        kills = memory.kills()
        try:
            if fresh:
                worker.wait_until_ready()
            while (task := self._next(job)) is not None:
                heard.put((job, task, {"event": "begins"}))
                for message in worker.ask(task.request):
                    if message["event"] == "failed":
                        message["log"] = worker.log_tail()
                    heard.put((job, task, message))
        except WorkerDiedError as death:
            log = worker.log_tail()
            starved = memory.kills() > kills or any(sign in log for sign in ("bad_alloc", "out of memory"))
            heard.put((job, task, Died(str(death), starved, log)))
        except BdlError as error:
            heard.put((job, None, error))
        except (OSError, ValueError) as error:  # also when close() takes the pipes away, and nobody hears it
            heard.put((job, None, BdlError(f"lost a training process: {error}")))

    def _next(self, job: int) -> Task | None:
        """The first task that is at home here or nowhere yet; else the first."""
        with self._lock:
            if not self._waiting:
                return None
            here = (task for task in self._waiting if self._homes.get(task.home, job) == job)
            task = next(here, self._waiting[0])
            self._waiting.remove(task)
            self._flying += 1
            self._homes.setdefault(task.home, job)
            return task

    def _close_worker(self, job: int) -> None:
        worker, self._workers[job] = self._workers[job], None
        if worker is not None:
            worker.close()
