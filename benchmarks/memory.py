"""Peak resident memory of this process, of a server with its children, and of a contestant in a process of its own."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks.contestants.base import Workplace
from benchmarks.workload import BenchRequest
from secateur.models.errors import SecateurError


class OutOfMemoryError(SecateurError):
    """A contestant needs more memory than the machine has."""


_CHILD = "from benchmarks.memory import run_child; run_child()"


def _high_water(pid: int | str) -> int | None:
    """Return the peak resident bytes of a process since its program started; None if the system has no record."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def own_peak_bytes() -> int:
    """Return the peak resident bytes of this process.

    `getrusage` is used only without /proc: on Linux its figure is inherited from the parent process, so that a child
    of a large process would seem large itself.
    """
    peak = _high_water("self")
    if peak is not None:
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tree_peak_bytes(pid: int) -> int:
    """Return the sum of the peaks of a process and its descendants.

    Raises:
        SecateurError: The process has ended.
    """
    try:
        top = psutil.Process(pid)
        return sum(_high_water(p.pid) or p.memory_info().rss for p in [top, *top.children(recursive=True)])
    except psutil.NoSuchProcess as error:
        raise SecateurError(f"process {pid} has ended; its memory cannot be read") from error


def contestant_peak_bytes(name: str, workplace: Workplace, request: BenchRequest) -> int:
    """Return the peak memory of a fresh process that loads a contestant and runs one request.

    Args:
        name: Name in the registry.
        workplace: Files that it is made from; if they are missing, the memory of making them counts.
        request: Request to run once.

    Raises:
        OutOfMemoryError: The system killed the process.
        SecateurError: The process failed.
    """
    task = {
        "name": name,
        "workplace": asdict(workplace) | {"directory": str(workplace.directory)},
        "request": asdict(request),
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if done.returncode == -signal.SIGKILL:
        raise OutOfMemoryError(f"{name} needs more memory than there is for {len(request.passages)} passages")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise SecateurError(f"the process that measures {name}'s memory ended with code {done.returncode}: {lines[-1]}")
    # Libraries may have printed before.
    return int(done.stdout.split()[-1])


def run_child() -> None:
    """Run the task on standard input, and write the peak memory of this process in bytes to standard output."""
    from benchmarks.contestants.registry import CONTESTANTS

    task = json.load(sys.stdin)
    workplace = Workplace(Path(task["workplace"]["directory"]), task["workplace"]["sizes"])
    request = BenchRequest(task["request"]["query"], tuple(task["request"]["passages"]))
    CONTESTANTS[task["name"]].load(workplace).prepare(request)()
    sys.stdout.write(f"\n{own_peak_bytes()}\n")
