"""A real server in a process of its own, for the tests that need one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PATIENCE = 300.0  # seconds; a machine that also trains is slow


@dataclass(frozen=True, slots=True)
class Server:
    """A running `secateur serve`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


StartServer = Callable[..., AbstractContextManager[Server]]


def until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the base URL once the server says that it is ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        running = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())
        if running and httpx.get(f"{running[1]}/health/ready", timeout=PATIENCE).status_code == 200:
            return running[1]
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{log.read_text()}")


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "secateur", "serve", "--port", "0", "--device", "cpu", *arguments]
    # Away from the checkout, whose folders are not the package.
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Server(until_ready(process, log), process, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
