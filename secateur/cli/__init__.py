"""The command line. Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.

Importing it costs next to nothing: `main` imports the application, and the application the command that is run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from secateur.cli.ending import INTERRUPTED, leave, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None for those of the process, which then exits here if it is interrupted.

    Returns:
        The exit code.
    """

    def run() -> None:
        from secateur.cli.app import run

        run(sys.argv[1:] if argv is None else list(argv))

    code = run_command(run)
    if code == INTERRUPTED and argv is None:
        leave(code)
    return code
