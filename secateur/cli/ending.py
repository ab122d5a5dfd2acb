"""How a command ends: with an exit code and, where something went wrong, one line on stderr."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

INTERRUPTED = 130


class UsageError(Exception):
    """The arguments cannot be used."""


def run_command(run: Callable[[], object]) -> int:
    """Run a command; return its exit code.

    Args:
        run: the command. The message of a `KeyboardInterrupt` is shown.

    Returns:
        0, 1 for a failure, 2 for bad usage, 130 where it was interrupted.

    Raises:
        SystemExit: by the command.
    """
    from secateur.models.errors import InputError, SecateurError

    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed by whoever started the process
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
    except BrokenPipeError:  # whoever read the output has left; nothing is to be said
        _discard(sys.stdout)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        return _failed(_reason(error), 1)
    return 0


def _reason(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{place}{error.strerror or error}"


def _failed(message: object, code: int) -> int:
    # A message may quote text that the terminal's encoding cannot show, or a library's message of several lines.
    line = " ".join(part.strip() for part in str(message).splitlines())
    try:
        sys.stderr.write(f"secateur: error: {line}\n".encode("utf-8", "backslashreplace").decode("utf-8"))
        sys.stderr.flush()
    except OSError:  # nobody can be told
        _discard(sys.stderr)
    return code


def _discard(stream: IO[str]) -> None:
    """Throw away what cannot be written; the interpreter would fail at its end with a traceback and a code of 120."""
    with suppress(OSError, ValueError):
        stream.flush()
        return
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's own end.

    A thread of a runtime that comes back to Python meanwhile, as after an interrupted run, would abort the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        _discard(stream)
    os._exit(code)
