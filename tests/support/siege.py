"""Attacks on a live server, and the three things that none may take from it: liveness, memory, recovery."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from live_server import PATIENCE, Server

LIVE_S = 1.0  # longest that /health/live may take
GROWTH_BYTES = 300e6  # most memory that an attack may add
RECOVERY_S = 2.0  # longest that a small request may take once the attack is over
SMALL = json.dumps({"query": "When was it finished?", "passages": ["It was finished in 1889."]}).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, the number of bytes, and the first of them."""

    status: int
    length: int
    start: bytes


def ask(server: Server, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Post a body on a connection of its own and read the answer, of which little is kept."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        start = answer.read(1 << 16)
        length = len(start)
        while part := answer.read(1 << 16):
            length += len(part)
        return Reply(answer.status, length, start)
    finally:
        connection.close()


def send(server: Server, path: str, body: Any, headers: Mapping[str, str] | None = None) -> int:
    """Do as `ask`; return the status."""
    return ask(server, path, body, headers).status


def send_copies(
    copies: int, server: Server, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> list[int]:
    """Send the same request on several connections at once; return the statuses."""
    with ThreadPoolExecutor(copies) as pool:
        return list(pool.map(lambda _: send(server, path, body, headers), range(copies)))


@contextmanager
def siege(server: Server) -> Iterator[None]:
    """``with siege(server):`` attack; asserts at the end that the server stayed live and small, and recovers."""
    command = [sys.executable, str(Path(__file__).with_name("watch.py")), server.url, str(server.process.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert watch.stdout is not None
            watch.stdout.readline()
            yield
            seen = json.loads(watch.communicate("end", timeout=PATIENCE)[0])
        finally:
            watch.kill()
    started = time.monotonic()
    assert send(server, "/v1/prune", SMALL) == 200
    recovery_s = time.monotonic() - started
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text()
    assert seen["longest_s"] < LIVE_S, seen
    assert seen["grown_bytes"] < GROWTH_BYTES, seen
    assert recovery_s < RECOVERY_S
