"""What ``--dry-run`` shows: arms × seeds, the one difference of each arm, and how much work it is."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from betterdl_cli.config.loading import Loaded
from betterdl_cli.errors import counted
from betterdl_cli.record import Engine
from betterdl_cli.training.data import load_parts
from betterdl_cli.training.setting import WantedEngine
from betterdl_cli.training.units import WIDTH


@dataclass(frozen=True)
class _Cost:
    """Seconds for a small dense network on one thread of a 2020s laptop or server, measured with lessons 2 to 7.

    A start-up, a part per arm (compiling), and parts per run, epoch and update of what is trained at once: a run, or a
    group of seeds. Convolutions and larger networks take longer.
    """

    start: float
    arm: float
    run: float
    epoch: float
    update: float


COSTS = {"fit": _Cost(6.0, 0.0, 0.6, 0.006, 0.00012), "vectorized": _Cost(5.0, 2.5, 0.02, 0.0004, 0.00003)}


def plan_document(loaded: Loaded, directory: pathlib.Path, engine: WantedEngine = "auto") -> dict[str, Any]:
    """``bdl.dry-run/1``: arms, runs, epochs, weight updates and a rough time. Loads the data, not Keras."""
    experiment = loaded.experiment
    rows = load_parts(experiment.data, experiment.seeds[0]).train.rows
    arms, updates, epochs, seeds = [], 0, 0, len(experiment.seeds)
    for arm in loaded.arms:
        training = arm.spec.training
        steps = math.ceil(rows / training.batch_size)
        epochs += training.epochs * seeds
        updates += training.epochs * steps * seeds
        arms.append(
            {
                "arm": arm.id,
                "area": arm.area,
                "reference": arm.reference,
                "epochs": training.epochs,
                "updates_per_epoch": steps,
                "differences": [str(item) for item in arm.differences],
            }
        )
    runs = len(arms) * seeds
    used: Engine = "fit" if engine == "fit" else "vectorized"  # auto: what it is unless an arm cannot be compiled
    cost, at_once = COSTS[used], 1 if used == "fit" else seeds / math.ceil(seeds / WIDTH)
    seconds = cost.start + cost.arm * len(arms) + cost.run * runs
    seconds += (cost.epoch * epochs + cost.update * updates) / at_once
    return {
        "schema": "bdl.dry-run/1",
        "experiment": experiment.name,
        "id": experiment.id,
        "directory": str(directory),
        "metric": experiment.metric,
        "seeds": list(experiment.seeds),
        "arms": arms,
        "runs": runs,
        "epochs": epochs,
        "updates": updates,
        "engine": used,
        "rough_seconds": round(seconds),
    }


def plan_text(document: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [f"{document['experiment']} → {document['directory']}"]
    for arm in document["arms"]:
        area = f" ({arm['area']})" if arm["area"] else ""
        lines.append(
            f"  {arm['arm']}{area}: {counted(arm['epochs'], 'epoch')} of {counted(arm['updates_per_epoch'], 'update')}"
        )
        lines += [f"      {change}" for change in arm["differences"]]
    seeds = ", ".join(str(seed) for seed in document["seeds"][:20])
    more = ", …" if len(document["seeds"]) > 20 else ""
    lines.append(f"{'seed' if len(document['seeds']) == 1 else 'seeds'}: {seeds}{more}")
    lines.append(f"primary metric: {document['metric']}")
    lines.append(
        f"{counted(document['runs'], 'run')}, {counted(document['epochs'], 'epoch')}, "
        f"{counted(document['updates'], 'weight update')}; "
        f"roughly {_duration(document['rough_seconds'])} with engine {document['engine']}, if the network is small "
        "and dense. Nothing was trained."
    )
    return "\n".join(lines)


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
