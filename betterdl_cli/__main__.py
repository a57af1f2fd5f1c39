"""The ``bdl`` program, also as ``python -m betterdl_cli``: how its process ends."""

import contextlib
import os
import signal
import sys


def program() -> None:
    """Entry point of ``bdl``.

    When the reader of its output goes away (``bdl ls | head -1``), the process ends by SIGPIPE, as other programs do.
    An interrupt ends it with 130 at any time: Python would kill itself by SIGINT at its end if an interrupt ever passed
    through an exec() of an import, even one that was handled.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        from betterdl_cli.cli import main

        main()
        code: object = 0
    except SystemExit as ending:
        code = ending.code
    except KeyboardInterrupt:  # before click hears of it
        print("bdl: interrupted", file=sys.stderr)
        code = 130
    try:
        sys.stdout.flush()
    except OSError:  # was reported where it was first noticed; Python would report it again
        os._exit(code if isinstance(code, int) and code else 1)
    if code == 130:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(130)
    sys.exit(code)  # type: ignore[arg-type]


if __name__ == "__main__":
    program()
