"""What a user can cause, as exceptions that carry a complete message and an exit code.

Everything raised on purpose derives from :class:`BdlError`; ``cli.py`` prints its text without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EXIT_RUN_FAILED = 1
EXIT_USAGE = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130

Path = tuple[str | int, ...]


class BdlError(Exception):
    """An error to show as it is. ``exit_code`` follows the table in docs/architecture.md."""

    exit_code = EXIT_RUN_FAILED


class UsageError(BdlError):
    """A wrong command line, config or file: exit code 2."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a config: where it stands, what was expected, what was found.

    ``line`` and ``column`` count from 1; 0 means that the place has no line (an override, a default).
    """

    message: str
    path: Path = ()
    suggestion: str | None = None
    file: str = ""
    line: int = 0
    column: int = 0
    at_key: bool = False  # points at the key of the path, not at its value

    @property
    def dotted_path(self) -> str:
        return ".".join(str(part) for part in self.path)

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = ".".join(shortened(str(part)) for part in self.path)
        parts = [part for part in (where, path, self.message) if part]
        hint = f" (did you mean '{self.suggestion}'?)" if self.suggestion else ""
        return printable(": ".join(parts) + hint)


class ConfigError(UsageError):
    """All faults of one config at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def shortened(text: str) -> str:
    """A text of a user as part of a message: its beginning when it is long."""
    return text if len(text) <= 40 else f"{text[:39]}…"


def printable(text: str) -> str:
    """On one line and without control characters, which could rewrite what stands on a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def counted(number: int, thing: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{number:,} {thing if number == 1 else f'{thing}s'}"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The valid name closest to a misspelt one, or None when nothing is close."""
    by_folded = {candidate.lower().replace("-", "_"): candidate for candidate in candidates}
    folded = name.lower().replace("-", "_")
    match = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[match[0]] if match else None
