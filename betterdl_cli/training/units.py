"""What is handed to a worker at once: one run, or all seeds of a group. Imports no Keras."""

from __future__ import annotations

from collections.abc import Sequence

from betterdl_cli.expand import Arm
from betterdl_cli.record import Engine

# Seeds stacked in one program. Fixed, because a seed's last bits depend on it: the same spec and seed must give the
# same numbers however many other seeds are asked for.
WIDTH = 10

Unit = tuple[Arm, tuple[int, ...]]


def units(missing: Sequence[tuple[int, Arm]], engine: Engine, width: int = WIDTH) -> list[Unit]:
    """The missing runs in the order of training: seed by seed, or arm by arm in groups of at most ``width`` seeds."""
    if engine == "fit":
        return [(arm, (seed,)) for seed, arm in missing]
    by_arm: dict[str, tuple[Arm, list[int]]] = {}
    for seed, arm in missing:
        by_arm.setdefault(arm.id, (arm, []))[1].append(seed)
    return [
        (arm, tuple(seeds[start : start + width]))
        for arm, seeds in by_arm.values()
        for start in range(0, len(seeds), width)
    ]
