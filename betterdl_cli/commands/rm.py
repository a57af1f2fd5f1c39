"""``bdl rm``: remove a stored experiment."""

from __future__ import annotations

import pathlib

import click


@click.command(name="rm", short_help="remove a stored experiment")
@click.argument("experiment")
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def command(experiment: str, root: pathlib.Path, yes: bool) -> None:
    """Remove EXPERIMENT (its directory, its name, or a unique prefix) with all its runs. Asks first."""
    from betterdl_cli.analysis.sources import find_experiment

    directory = find_experiment(experiment, root)
    if not yes and not click.confirm(f"Remove {directory.path} with {directory.count_runs()} runs?", err=True):
        click.echo("nothing was removed", err=True)
        return
    with directory.locked():
        directory.remove()
    click.echo(f"removed {directory.path}")
