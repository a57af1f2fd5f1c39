"""``bdl ls``: stored experiments."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import click


@click.command(name="ls", short_help="stored experiments")
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(root: pathlib.Path, as_json: bool) -> None:
    """List the experiments stored in the folder of the runs, and how many of their runs are finished."""
    from betterdl_cli.analysis.sources import distinctions
    from betterdl_cli.errors import UsageError, counted
    from betterdl_cli.store import experiments

    rows: list[dict[str, Any]] = []
    stored = experiments(root)
    facts = distinctions(stored)
    for directory in stored:
        try:
            plan = directory.plan()
        except UsageError as error:
            click.echo(f"bdl: {error}", err=True)
            continue
        runs = [run.record for arm in directory.runs(plan).values() for run in arm.values()]
        whole = len(runs) == len(plan.arms) * len(plan.seeds)
        lacking = {} if whole else directory.lacking(plan)
        rows.append(
            {
                "experiment": directory.path.name,
                "name": plan.name,
                "id": plan.id,
                "arms": [arm.id for arm in plan.arms],
                "seeds": len(plan.seeds),
                "runs": len(plan.arms) * len(plan.seeds),
                "finished": sum(record.finished for record in runs),
                "failed": sum(not record.finished for record in runs),
                "damaged": sum(bool(reason) for seeds in lacking.values() for reason in seeds.values()),
                "facts": facts[directory.path],
            }
        )
    if as_json:
        click.echo(json.dumps({"schema": "bdl.ls/1", "experiments": rows}, indent=1))
        return
    for row in rows:
        bad = "".join(f", {row[fate]} {fate}" for fate in ("failed", "damaged") if row[fate])
        done = f"{row['finished']:,} of {counted(row['runs'], 'run')} finished{bad}"
        click.echo(f"{row['experiment']}: {done}; arms {', '.join(row['arms'])}; {row['facts']}")
    if not rows:
        click.echo(f"no experiments in {root}", err=True)
