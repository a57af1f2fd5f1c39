"""How much memory there is, in bytes. On Linux the limits of control groups (containers) count, of either version."""

from __future__ import annotations

import pathlib

import psutil

GROUPS = pathlib.Path("/sys/fs/cgroup")


def available(groups: pathlib.Path = GROUPS) -> int:
    """Bytes that new work may take before the system or the container runs out."""
    free: int = psutil.virtual_memory().available
    for limit, used, cache, folder in (
        ("memory.max", "memory.current", "inactive_file", groups),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", groups / "memory"),
    ):
        most, now = _number(folder / limit), _number(folder / used)
        if most is not None and now is not None:
            free = min(free, max(0, most - now + _counters(folder / "memory.stat").get(cache, 0)))
    return free


def kills(groups: pathlib.Path = GROUPS) -> int:
    """How often processes of this container were killed for lack of memory; 0 where that is not counted."""
    files = (groups / "memory.events", groups / "memory" / "memory.oom_control")
    return sum(_counters(path).get("oom_kill", 0) for path in files)


def _number(path: pathlib.Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return None


def _counters(path: pathlib.Path) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}
