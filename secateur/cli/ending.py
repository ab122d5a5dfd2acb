"""`main`, and how a command ends: with an exit code and, after a failure, one line on stderr."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

INTERRUPTED = 130
NOTHING_KEPT = 3
"""Exit code of a pruning that kept nothing: not 1, so that a script does not take a failure for an empty context."""


class UsageError(Exception):
    """The arguments cannot be used."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Without arguments, the process's, which exits if interrupted."""

    def run() -> None:
        from secateur.cli.app import run

        run(sys.argv[1:] if argv is None else list(argv))

    code = run_command(run)
    if code == INTERRUPTED and argv is None:
        _leave(code)
    return code


def run_command(run: Callable[[], object]) -> int:
    """Run a command and return its exit code. It may raise `SystemExit`."""
    from secateur.models.errors import InputError, SecateurError

    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # the parent process closed it
            setattr(sys, stream, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    try:
        try:
            run()
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except (UsageError, InputError) as error:
        return _failed(error, 2)
    except SecateurError as error:
        return _failed(error, 1)
    except KeyboardInterrupt as error:
        return _failed(f"interrupted; {error}" if str(error) else "interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of the output has gone, so nobody needs a message
        _discard(sys.stdout)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        place = f"{error.filename}: " if error.filename is not None else ""
        return _failed(f"{place}{error.strerror or error}", 1)
    return 0


def _failed(message: object, code: int) -> int:
    # A message may contain text that the terminal's encoding lacks, or several lines from a library.
    line = " ".join(part.strip() for part in str(message).splitlines())
    try:
        sys.stderr.write(f"secateur: error: {line}\n".encode("utf-8", "backslashreplace").decode("utf-8"))
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def _discard(stream: IO[str]) -> None:
    """Drop unwritable output; otherwise the interpreter would exit with a traceback and code 120."""
    with suppress(OSError, ValueError):
        stream.flush()
        return
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's own shutdown.

    A runtime's thread that returns to Python during it, as after an interrupted run, would abort the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        _discard(stream)
    os._exit(code)
