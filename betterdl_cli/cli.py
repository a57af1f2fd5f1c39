"""The command line: subcommands that are imported when called, errors as one message, exit codes."""

from __future__ import annotations

import importlib
import io
import re
import sys
from typing import Any

import click

from betterdl_cli import __version__
from betterdl_cli.errors import (
    EXIT_INTERRUPTED,
    EXIT_RUN_FAILED,
    EXIT_USAGE,
    BdlError,
    ConfigError,
    UsageError,
    nearest,
    shortened,
)

COMMANDS = {
    "run": "train a config and compare its arms",
    "compare": "compare two arms, experiments or histories",
    "power": "how many seeds an effect of a given size needs",
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
        except KeyboardInterrupt:  # click would print an empty line
            return _interrupted(on_new_line=sys.stderr.isatty())  # after the terminal's ^C

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            guess = nearest(args[0], COMMANDS)
            hint = f" (did you mean '{guess}'?)" if guess else ""
            raise UsageError(f"expected a command ({', '.join(COMMANDS)}), found '{shortened(args[0])}'{hint}")
        return super().resolve_command(ctx, args)


def usage_words(error: click.ClickException) -> str:
    """What click says about a wrong command line, in the words of our own messages."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message().strip().removesuffix(".")
    where = f"; see {ctx.command_path} --help" if ctx else ""
    if isinstance(error, click.NoSuchOption) and ctx:
        parameters = ctx.command.get_params(ctx)
        guess = nearest(error.option_name, [option for one in parameters for option in one.opts + one.secondary_opts])
        hint = f" (did you mean '{guess}'?)" if guess else ""
        if any(one.name == "overrides" for one in parameters) and _is_of_config(error.option_name.lstrip("-")):
            hint = f" (a value of the config is changed without dashes: {error.option_name.lstrip('-')}=…)"
        return f"expected an option of {ctx.command_path}, found '{shortened(error.option_name)}'{hint}{where}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"expected {_expected(error.param)}, found nothing{where}"
    if isinstance(error, click.BadParameter) and (
        found := re.match(r"(.*) is not (one of|a valid|in the)", error.message)
    ):
        return f"expected {_expected(error.param)}, found {found[1]}{where}" if error.param else message + where
    if isinstance(error, click.BadOptionUsage) and message.endswith("requires an argument"):
        return f"expected a value after {error.option_name}, found nothing{where}"
    if extra := re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", message):
        return f"expected nothing more, found '{shortened(extra[1])}'{where}"
    return message[:1].lower() + message[1:] + where


def _is_of_config(path: str) -> bool:
    from betterdl_cli.config.experiment import Header

    return path.partition(".")[0] in Header.model_fields


def _expected(parameter: click.Parameter) -> str:
    name = parameter.opts[0] if isinstance(parameter, click.Option) else (parameter.name or "").upper()
    if parameter.metavar and not isinstance(parameter, click.Option):
        name = parameter.metavar
    if isinstance(parameter.type, click.Choice):
        *others, last = map(str, parameter.type.choices)
        return f"{name} ({', '.join(others)} or {last})"
    if isinstance(parameter.type, click.IntRange):
        return f"{name} to be a whole number from {parameter.type.min} to {parameter.type.max}"
    return name


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bdl")
def cli() -> None:
    """Paired with/without experiments for deep learning: which technique really helps?

    Begin with: bdl run configs/lesson04_batch_norm.yaml seeds=3
    """


def _interrupted(*, on_new_line: bool) -> int:
    click.echo(("\n" if on_new_line else "") + "bdl: interrupted", err=True)
    return EXIT_INTERRUPTED


def main() -> None:
    """What ``bdl`` does. Exit codes: 0 done, 1 a run failed, 2 bad usage or config, 3 gate, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show ≥ shows ?
    try:
        code = cli.main(prog_name="bdl", standalone_mode=False)
    except BdlError as error:
        # the faults of a config say where they are, as those of a compiler do
        click.echo(str(error) if isinstance(error, ConfigError) else f"bdl: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = _interrupted(on_new_line=sys.stderr.isatty())
    except click.Abort:
        code = _interrupted(on_new_line=True)  # after a question
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = EXIT_USAGE
    except click.ClickException as error:
        click.echo(f"bdl: {usage_words(error)}", err=True)
        code = EXIT_USAGE
    except OSError as error:  # a disk that is full, a folder that is not ours
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"bdl: {where}{error.strerror or error}", err=True)
        code = EXIT_RUN_FAILED
    sys.exit(code or 0)
