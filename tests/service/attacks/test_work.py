"""Requests that ask for more work than they can be given: they are refused, or cost others no more than their share."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from live_server import Server
from siege import SMALL, send, send_copies, siege

pytestmark = pytest.mark.e2e

TEXT = "It was finished in March 1889, after two years, two months and five days. It is made of iron. "


def body(query: str = "When was it finished?", **fields: Any) -> bytes:
    return json.dumps({"query": query, **fields}).encode()


TEXTS = {
    "form feeds": "\x0ca" * 1_000_000,
    "short sentences": "a. " * 1_300_000,
    "abbreviations": "A.B." * 990_000,
    "line breaks": "\n" * 3_900_000,
    "list items": "- a\n" * 970_000,
    "numbers": "1. " * 1_300_000,
    "brackets": "(" * 3_900_000,
    "sentence ends": "! ? " * 970_000,
    "wide spaces": "\u00a0\u2003" * 1_900_000,
    "one word": "a" * 3_900_000,
    "emoji": "\U0001f600" * 1_000_000,
}


def test_work_ends_with_its_deadline(target: Server) -> None:
    """Its own passage cannot be read in time; everybody else is served within seconds of it."""
    with siege(target):
        for name, text in TEXTS.items():
            statuses = send_copies(2, target, "/v1/prune", body(passages=[text]), {"X-Request-Timeout-Ms": "300"})
            assert set(statuses) <= {422, 429, 504}, (name, statuses)


def test_a_request_that_cannot_meet_its_deadline_starves_nobody(target: Server) -> None:
    query = "When was it finished? " * 1_800
    content = body(query[:19_000], passages=["a"] * 10_000, truncate_query=True)
    with siege(target), ThreadPoolExecutor(2) as pool:
        attacks = [pool.submit(send, target, "/v1/prune", content) for _ in range(2)]
        small = []
        for _ in range(20):
            small.append(send(target, "/v1/prune", SMALL))
            time.sleep(0.1)
        assert small == [200] * 20
        assert {attack.result() for attack in attacks} <= {413, 422, 429}


def test_small_requests_teach_no_wrong_rate(target: Server) -> None:
    """After many requests of one word, larger ones on an idle server are all answered."""
    word = body("a", passages=["b"])
    larger = body(passages=[TEXT * 4] * 10)
    with siege(target):
        assert {send(target, "/v1/prune", word) for _ in range(60)} == {200}
        assert send_copies(4, target, "/v1/prune", larger) == [200] * 4


def test_a_large_request_keeps_small_ones_waiting_for_a_moment_only(target: Server) -> None:
    large = body(passages=[f"{number}: {TEXT * 8}" for number in range(150)])
    with siege(target), ThreadPoolExecutor(2) as pool:
        running = [pool.submit(send, target, "/v1/prune", large) for _ in range(2)]
        waited: list[float] = []
        while not all(request.done() for request in running) and len(waited) < 20:
            started = time.monotonic()
            assert send(target, "/v1/prune", SMALL) == 200
            waited.append(time.monotonic() - started)
        assert max(waited) < 3
        assert {request.result() for request in running} == {200}


class _Batch:
    """A batch that a client sends and reads until told to stop."""

    def __init__(self, target: Server, content: bytes) -> None:
        self._thread = threading.Thread(target=self._run, args=(target, content), daemon=True)
        self.status: int | None = None
        self._thread.start()

    def _run(self, target: Server, content: bytes) -> None:
        self.status = send(target, "/v1/prune/batch", content, {"Content-Type": "application/x-ndjson"})

    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()


def test_a_batch_leaves_interactive_requests_their_speed(target: Server) -> None:
    lines = b"".join(body(passages=[f"{n}.{m} {TEXT * 4}" for m in range(20)]) + b"\n" for n in range(30))
    with siege(target):
        batch = _Batch(target, lines)
        waited: list[float] = []
        while batch.running() and len(waited) < 40:
            started = time.monotonic()
            assert send(target, "/v1/prune", SMALL) == 200
            waited.append(time.monotonic() - started)
        batch.wait()
        assert batch.status == 200
        assert max(waited) < 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\n" * 50_000_000, id="50 MB of line breaks"),
        pytest.param(b"x" * 80_000_000, id="one line of 80 MB, more than a line may have"),
        pytest.param(b"{}\n" * 20_000, id="20,000 wrong lines"),
        pytest.param(b'{"query":"q","passages":[' + b"1," * 9_000 + b"1]}\n", id="a line with 9,001 errors"),
    ],
)
def test_a_batch_of_nothing(target: Server, content: bytes) -> None:
    with siege(target):
        assert send(target, "/v1/prune/batch", content, {"Content-Type": "application/x-ndjson"}) == 200
