"""``bdl rm``: remove a stored experiment."""

from __future__ import annotations

import pathlib

import click


@click.command(name="rm", short_help="remove a stored experiment")
@click.argument("experiment")
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def command(experiment: str, root: pathlib.Path, yes: bool) -> None:
    """Remove EXPERIMENT (its directory, its name, its id, or a unique beginning) with all its runs. Asks first."""
    from betterdl_cli.analysis.sources import find_experiment
    from betterdl_cli.errors import BdlError, UsageError, counted
    from betterdl_cli.store import locate

    if (part := locate(pathlib.Path(experiment)) if experiment else None) and part.arm is not None:
        raise UsageError(
            f"expected an experiment, found a part of one: {experiment}; all of it is {part.directory.path}"
        )
    directory = find_experiment(experiment, root)
    question = f"Remove {directory.path} with {counted(directory.count_runs(), 'run')}?"
    try:
        sure = yes or click.confirm(question, err=True)
    except click.Abort as end:
        if not isinstance(end.__context__, EOFError):
            raise
        click.echo(err=True)  # the question still stands there without an end
        raise BdlError("nothing was removed: nobody answered; in a script, --yes removes without asking") from None
    if not sure:
        click.echo("nothing was removed", err=True)
        return
    with directory.locked():
        directory.remove()
    click.echo(f"removed {directory.path}")
