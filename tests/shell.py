"""``bdl`` called in this process, as from a shell."""

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from betterdl_cli.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, if that is exactly one strict JSON document."""

        def refuse(word: str) -> float:
            raise ValueError(f"not strict JSON: {word}")

        return json.loads(self.out, parse_constant=refuse)


def bdl(*words: object, answer: str = "") -> Result:
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["bdl", *map(str, words)]),
        mock.patch.object(sys, "stdin", io.StringIO(answer)),
        mock.patch.object(os, "_exit", sys.exit),  # how an interrupted command ends
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Result(int(code or 0), out.getvalue(), err.getvalue())
