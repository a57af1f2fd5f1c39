"""``bdl completion``: shell completion."""

from __future__ import annotations

import click

INSTALL = {
    "bash": 'eval "$(bdl completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(bdl completion zsh)"   # in ~/.zshrc',
    "fish": "bdl completion fish | source   # in ~/.config/fish/config.fish",
}


@click.command(name="completion", short_help="shell completion")
@click.argument("shell", type=click.Choice(list(INSTALL)))
def command(shell: str) -> None:
    """Print the completion script of a SHELL. For bash: eval "$(bdl completion bash)" in ~/.bashrc."""
    from click.shell_completion import get_completion_class

    from betterdl_cli.cli import cli

    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(cli, {}, "bdl", "_BDL_COMPLETE").source())
    click.echo(f"# {INSTALL[shell]}")
