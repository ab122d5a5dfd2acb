"""Connections that hold what they do not use."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from live_server import Server
from raw_http import connect
from siege import siege

pytestmark = pytest.mark.e2e

STALLED = 16  # about half a gigabyte together
STALLED_BYTES = 31_000_000


def head(length: int, path: str = "/v1/prune") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_stalled_bodies_do_not_fill_the_memory(target: Server) -> None:
    """Each sends all of its body but the end."""
    part = b" " * (1 << 20)
    with siege(target), ExitStack() as stack:
        for _ in range(STALLED):
            raw = stack.enter_context(connect(target))
            raw.settimeout(2)
            try:
                raw.sendall(head(STALLED_BYTES + 1))
                for _ in range(STALLED_BYTES // len(part)):
                    raw.sendall(part)
            except OSError:  # it has refused the body, or reads no more of it
                pass
        time.sleep(1)


def test_a_drip_after_an_early_answer_ends_with_the_connection(target: Server) -> None:
    """A body that nobody reads, a byte now and then, keeps the connection for seconds at the most."""
    with siege(target), connect(target) as raw:
        raw.sendall(head(1_000_000, "/no/such/path"))
        ended = None
        started = time.monotonic()
        while ended is None and time.monotonic() - started < 20:
            try:
                raw.sendall(b" ")
                raw.settimeout(0.2)
                ended = True if raw.recv(65536) == b"" else None
            except TimeoutError:
                pass
            except ConnectionError:
                ended = True
        assert ended
