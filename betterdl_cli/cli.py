"""The command line: subcommands that are imported when called, errors as one message, exit codes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import Any

import click

from betterdl_cli import __version__
from betterdl_cli.errors import EXIT_INTERRUPTED, EXIT_RUN_FAILED, EXIT_USAGE, BdlError

COMMANDS = {
    "run": "train a config and compare its arms",
    "compare": "compare two arms, experiments or histories",
    "validate": "check configs without training",
    "list": "techniques, datasets and models, with their cards",
    "show": "a config with its defaults, or a stored experiment",
    "ls": "stored experiments",
    "rm": "remove a stored experiment",
    "completion": "shell completion",
}


class LazyGroup(click.Group):
    """Knows its commands by name and one line of help; imports ``commands/<name>.py`` only to run one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"betterdl_cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output went away (bdl ls | head)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from betterdl_cli.errors import nearest

            guess = nearest(args[0], COMMANDS)
            hint = f" Did you mean '{guess}'?" if guess else f" There are: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bdl")
def cli() -> None:
    """Paired with/without experiments for deep learning: which technique really helps?

    Begin with: bdl run configs/lesson04_batch_norm.yaml seeds=3
    """


def main() -> None:
    """What ``bdl`` does. Exit codes: 0 done, 1 a run failed, 2 bad usage or config, 3 gate, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show ≥ shows ?
    try:
        code = cli.main(prog_name="bdl", standalone_mode=False)
    except BdlError as error:
        click.echo(f"bdl: {error}" if "\n" not in str(error) else str(error), err=True)
        code = error.exit_code
    except click.Abort:
        click.echo("\nbdl: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except KeyboardInterrupt:
        click.echo("\nbdl: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except OSError as error:  # a disk that is full, a folder that is not ours
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"bdl: {where}{error.strerror or error}", err=True)
        code = EXIT_RUN_FAILED
    sys.exit(code or 0)


def program() -> None:
    """Entry point of the ``bdl`` program: :func:`main`, and a process that ends with its exit code.

    Python kills itself by SIGINT at its end if an interrupt ever passed through an exec() of an import, even one that
    was handled: callers would see a signal instead of 130.
    """
    try:
        main()
    except SystemExit as ending:
        if ending.code != EXIT_INTERRUPTED:
            raise
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(EXIT_INTERRUPTED)
