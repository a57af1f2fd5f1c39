"""``bdl validate``: check configs without training."""

from __future__ import annotations

import json
import pathlib
import sys

import click

from betterdl_cli.errors import EXIT_USAGE


@click.command(name="validate", short_help="check configs without training")
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path), metavar="CONFIG...")
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def command(configs: tuple[pathlib.Path, ...], as_json: bool) -> None:
    """Check what each CONFIG states. What needs the data (row counts, classes) is checked by bdl run --dry-run."""
    from betterdl_cli.config.loading import load
    from betterdl_cli.config.notes import notes
    from betterdl_cli.errors import ConfigError, Fault

    faults: list[Fault] = []
    for path in configs:
        try:
            loaded = load(path)
        except ConfigError as error:
            faults.extend(error.faults)
        else:
            if not as_json:
                arms = ", ".join(arm.id for arm in loaded.arms)
                click.echo(f"{path}: valid; arms: {arms}; seeds: {len(loaded.experiment.seeds)}")
                for note in notes(loaded):
                    click.echo(f"{path}: note: {note}", err=True)
    if as_json:
        errors = [
            {
                "file": fault.file,
                "line": fault.line or None,
                "column": fault.column or None,
                "path": fault.dotted_path,
                "message": fault.message,
                "suggestion": fault.suggestion,
            }
            for fault in faults
        ]
        click.echo(json.dumps({"schema": "bdl.validation/1", "valid": not faults, "errors": errors}, indent=1))
    for fault in faults if not as_json else ():
        click.echo(str(fault), err=True)
    if faults:
        sys.exit(EXIT_USAGE)
