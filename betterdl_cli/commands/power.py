"""``bdl power``: how many seeds an effect of a given size needs."""

from __future__ import annotations

import json
import pathlib

import click


@click.command(name="power", short_help="how many seeds an effect of a given size needs")
@click.argument("experiment")
@click.option("--effect", type=click.FloatRange(0, min_open=True), required=True, metavar="NUMBER",
              help="The difference to be found, in the metric's unit: 0.02 is two points of accuracy.")  # fmt: skip
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True,
              help="Folder in which names of experiments are looked up.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(experiment: str, effect: float, root: pathlib.Path, as_json: bool) -> None:
    """Say how many seeds are needed to find a difference of --effect in 4 of 5 experiments.

    From how far the pairs of the stored EXPERIMENT lie apart.
    """
    from betterdl_cli.analysis.needed import needed
    from betterdl_cli.analysis.sources import find_experiment

    directory = find_experiment(experiment, root)
    document = needed(directory, directory.plan(), effect)
    if as_json:
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    for row in document["arms"]:
        click.echo(row["sentence"])
    click.echo(document["note"])
