"""``bdl run``: train a config and compare its arms."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from betterdl_cli.errors import EXIT_INTERRUPTED, EXIT_RUN_FAILED, counted

if TYPE_CHECKING:
    from betterdl_cli.config.loading import Loaded
    from betterdl_cli.store import ExperimentDirectory
    from betterdl_cli.training.setting import BackendName, WantedEngine


@click.command(name="run", short_help="train a config and compare its arms")
@click.argument("config", type=click.Path(path_type=pathlib.Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True,
              help="Folder in which the run directory is made.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=pathlib.Path), help="The run directory itself.")
@click.option("--engine", type=click.Choice(["auto", "vectorized", "fit"]), default="auto", show_default=True,
              help="vectorized: ten seeds at once in one compiled program; fit: Keras's model.fit, run by run; "
              "auto: vectorized where every arm can be compiled.")  # fmt: skip
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow", show_default=True,
              help="What Keras computes with; JAX is an extra: pip install 'betterdl-cli[jax]'.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Training processes side by side; changes no number.")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True,
              help="CPU threads of each training process; part of what decides the last bits.")  # fmt: skip
@click.option("--smoke", is_flag=True, help="At most 3 epochs, 2 seeds and 64 rows per part: does it run at all?")
@click.option("--dry-run", is_flag=True, help="Show arms, differences and work; train nothing.")
@click.option("--allow-mixed", is_flag=True, help="Continue runs made with other versions, device or threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    config: pathlib.Path,
    overrides: tuple[str, ...],
    root: pathlib.Path,
    out: pathlib.Path | None,
    engine: WantedEngine,
    backend: BackendName,
    jobs: int,
    device: str,
    threads: int,
    smoke: bool,
    dry_run: bool,
    allow_mixed: bool,
    as_json: bool,
) -> None:
    """Train every arm of CONFIG over its seeds, store the runs, and compare them.

    KEY=VALUE changes the config: bdl run lesson.yaml training.epochs=50 seeds=3

    Finished runs are kept: the same command continues where it stopped, and more seeds are added to those there.
    """
    from betterdl_cli.config.loading import load
    from betterdl_cli.store import ExperimentDirectory
    from betterdl_cli.training.conduct import Options
    from betterdl_cli.training.setting import Setting

    loaded = load(config, overrides, smoke=smoke)
    directory = ExperimentDirectory(out if out is not None else root / loaded.experiment.directory_name)
    if dry_run:
        _show_plan(loaded, directory, engine, as_json)
        return
    options = Options(engine, Setting(backend, device, threads), jobs, allow_mixed)
    with directory.locked(), _broken_pipes_as_exceptions():
        summary = _train_and_report(loaded, directory, options, as_json)
    if as_json:
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
    else:
        _print(summary, directory)
    if any(arm["failed"] for arm in summary["arms"]):
        sys.exit(EXIT_RUN_FAILED)


@contextlib.contextmanager
def _broken_pipes_as_exceptions() -> Iterator[None]:
    """A training process that died must not end the one that writes to it."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _train_and_report(loaded: Loaded, directory: ExperimentDirectory, options: Any, quiet: bool) -> dict[str, Any]:
    from betterdl_cli.report.progress import Progress
    from betterdl_cli.report.write import more_seeds, write_report
    from betterdl_cli.training.conduct import conduct, missing_runs

    plan = directory.plan_for(loaded.experiment, loaded.arms)
    kept = len(plan.seeds) * len(plan.arms) - len(missing_runs(directory, plan))
    if kept and not quiet:
        click.echo(f"{directory.path}: {counted(kept, 'finished run')} found and kept", err=True)
    try:
        with Progress(plan.metric, quiet=quiet) as progress:
            plan = conduct(directory, loaded.experiment, plan, options, progress, lambda: _check_data(loaded))
            while more := more_seeds(directory, plan):
                experiment = loaded.experiment.model_copy(update={"seeds": more})
                plan = directory.plan_for(experiment, loaded.arms)
                plan = conduct(directory, experiment, plan, options, progress, lambda: None)
        return write_report(directory, plan)
    except KeyboardInterrupt:
        total = len(plan.seeds) * len(plan.arms)
        done = total - len(missing_runs(directory, plan))
        click.echo(
            f"bdl: interrupted; {done:,} of {counted(total, 'run')} {'is' if done == 1 else 'are'} finished and kept "
            f"in {directory.path}. The same command continues.",
            err=True,
        )
        sys.exit(EXIT_INTERRUPTED)


def _check_data(loaded: Loaded) -> None:
    from betterdl_cli.errors import ConfigError
    from betterdl_cli.training.data import data_faults

    if faults := data_faults(loaded.experiment.data, loaded.experiment.seeds):
        raise ConfigError(loaded.source.located(faults))


def _print(summary: dict[str, Any], directory: ExperimentDirectory) -> None:
    from betterdl_cli.report.table import console, print_summary

    print_summary(console(), summary)
    click.echo(f"report: {directory.report / 'report.md'}")
    for picture in summary["pictures"]:
        click.echo(f"picture: {directory.report / picture}")


def _show_plan(loaded: Loaded, directory: ExperimentDirectory, engine: WantedEngine, as_json: bool) -> None:
    from betterdl_cli.config.notes import notes
    from betterdl_cli.training.rehearsal import plan_document, plan_text

    _check_data(loaded)
    document = plan_document(loaded, directory.path, engine)
    click.echo(json.dumps(document, indent=1, ensure_ascii=False) if as_json else plan_text(document))
    for note in notes(loaded):
        click.echo(f"note: {note}", err=True)
