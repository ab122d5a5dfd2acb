"""Programs that fork or start workers, ended with all their children should one hang."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 240.0  # seconds for a program; a machine that also trains is slow
CHILD_PATIENCE = 100.0


def output_of(program: str, *arguments: str, folder: Path, timeout: float = PATIENCE) -> str:
    """Run a program's source as a script in a folder, away from the checkout, and return what it prints.

    It may import this module.
    """
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    # A batch is then tokenized and computed by threads, which a forked child does not have.
    threads = {"TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": "2"}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **threads}
    with (folder / "output").open("w+b") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_group(process)
        output.seek(0)
        printed = output.read().decode("utf-8", "replace")
    assert code is not None, f"the program hangs; it printed:\n{printed}"
    assert code == 0, f"the program ended with {code}:\n{printed}"
    return printed


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group that a process leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def forked(work: Callable[[], object]) -> str:
    """Fork a child that works, then ends as a program does; return how: ``0``, a signal or ``hangs``."""
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    deadline = time.monotonic() + CHILD_PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"
