"""``python -m betterdl_cli`` is ``bdl``."""

from betterdl_cli.cli import program

program()
