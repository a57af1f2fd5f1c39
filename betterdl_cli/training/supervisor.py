"""The parent's side of a worker process: start it, hand it runs, hear from it, notice its death. Imports no Keras."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

from betterdl_cli.errors import BdlError, UsageError
from betterdl_cli.training.setting import Setting


class WorkerDiedError(Exception):
    """The worker process ended without an answer; the text says how."""


class Worker:
    """One training process; :meth:`close` it."""

    def __init__(self, setting: Setting, log: pathlib.Path) -> None:
        """Start the process without waiting for it; what it prints goes to ``log``."""
        self._log_path = log
        self._log_start = 0
        # TensorFlow's temporary files: a killed process cannot remove them, a killed parent leaves them to the next
        self._temporary = log.absolute().with_suffix(".tmp")
        read_end, write_end = os.pipe()
        try:
            shutil.rmtree(self._temporary, ignore_errors=True)
            with log.open("wb") as output:
                self._temporary.mkdir()
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",  # a keras.py in the current directory is not Keras
                        "-m",
                        "betterdl_cli.training.worker",
                        str(write_end),
                        setting.backend,
                        setting.device,
                        str(setting.threads),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end,),
                    env={**os.environ, "TMPDIR": str(self._temporary)},
                )
        except BaseException as error:  # an interrupt, too
            os.close(read_end)
            shutil.rmtree(self._temporary, ignore_errors=True)
            if isinstance(error, OSError):
                raise UsageError(f"cannot start a training process with its log in {log}: {error.strerror}") from error
            raise
        finally:
            os.close(write_end)
        self._messages: IO[str] = os.fdopen(read_end, encoding="utf-8")

    def close(self) -> None:
        """End the process at once, whatever it is doing, and remove its log and temporary files."""
        self._process.kill()
        self._process.wait()
        self._messages.close()
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._log_path.unlink(missing_ok=True)
        shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> dict[str, Any]:
        """The environment it trains in. Raises :class:`BdlError` when it cannot train at all."""
        try:
            message = self._next()
        except WorkerDiedError as error:
            raise BdlError(f"the training process did not start: {error}\n{self.log_tail()}") from None
        if message["event"] == "refused":
            raise UsageError(message["message"])
        environment: dict[str, Any] = message["environment"]
        return environment

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Hand over a request and yield the messages about it; the last one is 'done' or 'failed'.

        Raises :class:`WorkerDiedError`.
        """
        self._log_start = self._log_path.stat().st_size if self._log_path.exists() else 0
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerDiedError(self._how_it_ended()) from None
        while True:
            message = self._next()
            yield message
            if message["event"] in {"done", "failed"}:
                return

    def log_tail(self) -> str:
        """What the worker printed since the last run was handed over, the last 64 KiB of it."""
        try:
            with self._log_path.open("rb") as stream:
                stream.seek(self._log_start)
                return stream.read()[-65536:].decode(errors="replace").strip()
        except OSError:
            return ""

    def _next(self) -> dict[str, Any]:
        line = self._messages.readline()
        if not line.endswith("\n"):
            raise WorkerDiedError(self._how_it_ended())
        message: dict[str, Any] = json.loads(line)
        return message

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"it ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"it was ended by signal {-code} ({name}){hint}"
