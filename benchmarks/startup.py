"""CPU time of ``bdl --help`` against a bare ``import click``, whole processes, in turn.

    python benchmarks/startup.py [REPEATS]

Prints the median of each and the median of the pairwise ratios; exits with 1 above the limit of 2.5.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

LIMIT = 2.5
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "bdl --help": [sys.executable, "-m", "betterdl_cli", "--help"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one finished process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main(repeats: int) -> None:
    for command in COMMANDS.values():
        cpu_seconds(command)  # warm the disk cache
    pairs = [{name: cpu_seconds(command) for name, command in COMMANDS.items()} for _ in range(repeats)]
    for name in COMMANDS:
        print(f"{name}: median {statistics.median(pair[name] for pair in pairs):.3f} s CPU over {repeats} runs")
    ratio = statistics.median(pair["bdl --help"] / pair["import click"] for pair in pairs)
    print(f"ratio: {ratio:.2f} (limit {LIMIT})")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
