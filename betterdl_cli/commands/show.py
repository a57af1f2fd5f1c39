"""``bdl show``: a config with its defaults, or a stored experiment."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from betterdl_cli.errors import UsageError, counted


@click.command(name="show", short_help="a config with its defaults, or a stored experiment")
@click.argument("what", metavar="CONFIG|EXPERIMENT[:ARM]")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(what: str, overrides: tuple[str, ...], root: pathlib.Path, as_json: bool) -> None:
    """Show a config file with every default written out, a stored experiment with its table, or one arm's spec."""
    path = pathlib.Path(what)
    if path.is_file() or path.suffix in {".yaml", ".yml"}:
        _show_config(path, overrides, as_json)
        return
    if overrides:
        raise UsageError(f"expected a config file to apply {overrides[0]} to, found '{what}'")
    _show_stored(what, root, as_json)


def _show_config(path: pathlib.Path, overrides: tuple[str, ...], as_json: bool) -> None:
    from betterdl_cli.config import yaml12
    from betterdl_cli.config.loading import load

    resolved = load(path, overrides).experiment.resolved
    if as_json:
        click.echo(json.dumps({"schema": "bdl.config/1", **resolved}, indent=1))
    else:
        click.echo(yaml12.dump(resolved), nl=False)


def _show_stored(what: str, root: pathlib.Path, as_json: bool) -> None:
    from betterdl_cli.analysis.sources import resolve
    from betterdl_cli.analysis.summary import summarise
    from betterdl_cli.report.table import console, print_summary

    source = resolve(what, root, "a config file, an experiment or EXPERIMENT:ARM")
    assert source.directory is not None and source.plan is not None
    if source.single:
        arm = next(iter(source.arms.values())).arm
        assert arm is not None
        click.echo(json.dumps({"schema": "bdl.spec/1", **arm.spec.to_json()}, indent=1))
        return
    lacking = source.directory.lacking(source.plan)
    missing = [
        {"arm": name, "seed": seed, "reason": reason or "not trained yet"}
        for name, seeds in lacking.items()
        for seed, reason in seeds.items()
    ]
    summary = {**summarise(source.directory, source.plan), "missing": missing}
    if as_json:
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    from rich.text import Text

    out = console()
    print_summary(out, summary)
    for line in _details(summary, lacking):
        out.print(Text(line))
    click.echo(f"directory: {source.directory.path}")


def _details(summary: Mapping[str, Any], lacking: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    """What the arms change, then which runs there are none of."""
    for row in summary["arms"]:
        for change in row["differences"]:
            yield f"{row['arm']}: {change}"
    for name, seeds in lacking.items():
        untrained = [str(seed) for seed, reason in seeds.items() if not reason]
        if untrained:
            yield f"{name}: not trained yet: seed{'s' if len(untrained) > 1 else ''} {', '.join(untrained)}"
        for seed, reason in seeds.items():
            if reason:
                yield f"{name}: seed {seed} is lost: {reason}"
    if summary["missing"]:
        runs = counted(len(summary["missing"]), "run")
        yield f"bdl run with the same config trains what is missing: {runs}."
