"""Connections and the bodies on them are bounded, whatever their clients do; small requests are answered meanwhile."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import psutil
import pytest
from raw_http import connect, read

PATIENCE = 300.0
JSON = {"Content-Type": "application/json"}
GOOD = json.dumps({"query": "When was it finished?", "passages": ["It was finished in 1889."]}).encode()
HEAD = b"POST /v1/prune HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
RECEIVE_S = 2.0
MAX_BODY, MAX_BODIES = 4_000_000, 10_000_000
MAX_CONNECTIONS = 60


@pytest.fixture(scope="module")
def bounded(start_server: Any) -> Iterator[Any]:
    """A server of little patience, memory and room."""
    settings = {
        "--receive-timeout-s": RECEIVE_S,
        "--max-body-bytes": MAX_BODY,
        "--max-bodies-bytes": MAX_BODIES,
        "--max-connections": MAX_CONNECTIONS,
    }
    with start_server(*(str(part) for setting in settings.items() for part in setting)) as server:
        yield server


@pytest.fixture(autouse=True)
def _stays_healthy(bounded: Any) -> Iterator[None]:
    yield
    assert httpx.post(f"{bounded.url}/v1/prune", content=GOOD, headers=JSON, timeout=PATIENCE).status_code == 200
    assert "Traceback" not in bounded.log.read_text()


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


# Early answers


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", id="a body of a GET"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", id="a small one"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", id="no route"),
        pytest.param(HEAD + b"Content-Length: 999999999\r\n\r\n", id="too large"),
        pytest.param(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n", id="compressed"),
    ],
)
def test_after_an_early_answer_a_drip_keeps_no_connection(bounded: Any, head: bytes) -> None:
    with connect(bounded) as raw:
        raw.sendall(head)
        started = time.monotonic()
        received = b""
        raw.settimeout(0.2)
        while True:
            try:
                raw.sendall(b"1")
                part = raw.recv(65536)
            except TimeoutError:
                assert time.monotonic() - started < PATIENCE
            except ConnectionError:
                break
            else:
                if not part:
                    break
                received += part
    (status,) = statuses(received)
    assert status in (200, 404, 413, 415)
    assert b"\r\nconnection: close\r\n" in received.lower()


def test_a_client_that_waits_for_leave_is_answered_and_let_go(bounded: Any) -> None:
    with connect(bounded) as raw:
        raw.sendall(b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        received = read(raw)
    assert statuses(received) == [404]
    assert b"\r\nconnection: close\r\n" in received.lower()


# Framing


@pytest.mark.parametrize("first", ["length", "encoding"])
@pytest.mark.parametrize("path", [b"POST /v1/prune", b"GET /health/live", b"OPTIONS /v1/prune"])
def test_a_length_beside_chunks_is_refused_and_nothing_is_smuggled(bounded: Any, path: bytes, first: str) -> None:
    length, encoding = b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"
    head = path + b" HTTP/1.1\r\nHost: x\r\n" + (length + encoding if first == "length" else encoding + length)
    with connect(bounded) as raw:
        raw.sendall(head + b"\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        received = read(raw)
    assert statuses(received) == [400]
    assert b"\r\nconnection: close\r\n" in received.lower()


def test_pipelined_requests_are_answered_in_order(bounded: Any) -> None:
    asked = [(b"GET /health/live", 200), (b"GET /v1/nope", 404), (b"GET /v1/prune", 405)] * 50
    requests = b"".join(path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path, _ in asked[:-1])
    last = asked[-1][0] + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(bounded) as raw:
        raw.sendall(requests + last + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert statuses(read(raw)) == [status for _, status in asked]


@pytest.mark.slow
def test_a_pipelined_head_that_does_not_end_is_given_up(bounded: Any) -> None:
    with connect(bounded) as raw:
        raw.sendall(WHOLE + b"GET /health/live HTTP/1.1\r\n")
        started = time.monotonic()
        raw.settimeout(0.2)
        received = b""
        while True:
            try:
                raw.sendall(b"X-A: b\r\n")
                part = raw.recv(65536)
            except TimeoutError:
                assert time.monotonic() - started < PATIENCE
            except ConnectionError:
                break
            else:
                if not part:
                    break
                received += part
    assert statuses(received) == [200]


# Bodies in memory


def stalled(server: Any, size: int, *, sent: int, chunked: bool = False) -> socket.socket:
    """Announce a body, send a part of it, and stall."""
    raw = connect(server)
    part = b"1" * sent
    if chunked:
        raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + part)
    else:
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size + part)
    return raw


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_stalled_bodies_take_no_more_than_their_allowance(bounded: Any, chunked: bool) -> None:
    process = psutil.Process(bounded.process.pid)
    before = process.memory_info().rss
    size = MAX_BODY - 1000
    with ExitStack() as stack:
        raws = [stack.enter_context(stalled(bounded, size, sent=size - 10, chunked=chunked)) for _ in range(20)]
        response = httpx.post(f"{bounded.url}/v1/prune", content=GOOD, headers=JSON, timeout=PATIENCE)
        assert response.status_code == 200
        assert process.memory_info().rss - before < 4 * MAX_BODIES + 30e6
        answers = [read(raw) for raw in raws]
    found = [statuses(answer)[0] for answer in answers if statuses(answer)]
    assert set(found) == {408, 429}
    assert found.count(408) <= MAX_BODIES // size
    refused = next(answer for answer in answers if statuses(answer) == [429])
    assert b"\r\nretry-after: 1\r\n" in refused.lower()


def test_a_body_that_is_announced_counts_before_it_comes_and_no_longer_than_its_request(bounded: Any) -> None:
    large = GOOD.ljust(MAX_BODY - 1)
    url = f"{bounded.url}/v1/prune"
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(stalled(bounded, MAX_BODY - 1, sent=10))
            deadline = time.monotonic() + PATIENCE
            while httpx.post(url, content=large, headers=JSON, timeout=PATIENCE).status_code != 429:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # Small ones count for nothing, and those of a batch for what is in memory of them.
            assert httpx.post(url, content=GOOD, headers=JSON, timeout=PATIENCE).status_code == 200
            batch = {"Content-Type": "application/x-ndjson"}
            response = httpx.post(f"{url}/batch", content=large, headers=batch, timeout=PATIENCE)
            assert response.status_code == 200
        deadline = time.monotonic() + PATIENCE
        while httpx.post(url, content=large, headers=JSON, timeout=PATIENCE).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.slow
def test_bytes_that_came_fast_buy_no_time_to_stall(bounded: Any) -> None:
    """At the slowest pace this body might take a minute."""
    size = MAX_BODY - 1
    with stalled(bounded, size, sent=size - 10) as raw:
        started = time.monotonic()
        assert statuses(read(raw)) == [408]
        assert time.monotonic() - started < 45


# Numbers of connections


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nX", id="half a head"),
        pytest.param(HEAD + b"Content-Length: 60000\r\n\r\n{", id="half a body"),
        pytest.param(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", id="idle"),
    ],
)
def test_in_a_crowd_who_waits_longest_makes_room(bounded: Any, sent: bytes) -> None:
    process = psutil.Process(bounded.process.pid)
    with ExitStack() as stack:
        raws = []
        for _ in range(3 * MAX_CONNECTIONS):
            raws.append(stack.enter_context(connect(bounded)))
            with suppress(ConnectionError):
                raws[-1].sendall(sent)
        assert httpx.get(f"{bounded.url}/health/live", timeout=PATIENCE).status_code == 200
        assert httpx.post(f"{bounded.url}/v1/prune", content=GOOD, headers=JSON, timeout=PATIENCE).status_code == 200
        open_ = [c for c in process.net_connections() if c.status == psutil.CONN_ESTABLISHED]
        assert len(open_) <= MAX_CONNECTIONS
        read(raws[0])  # returns, since the first has made room


@pytest.mark.slow
def test_a_client_that_leaves_a_small_answer_unread_is_let_go(bounded: Any) -> None:
    """Less than what the transport buffers without a word."""
    body = json.dumps({"query": "q", "passages": [{"text": "It was.", "metadata": {"a": "x" * 60_000}}]}).encode()
    process = psutil.Process(bounded.process.pid)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.connect(("127.0.0.1", int(bounded.url.rpartition(":")[2])))
        port = raw.getsockname()[1]
        try:
            for _ in range(40):
                raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except ConnectionError:
            pass
        deadline = time.monotonic() + PATIENCE
        while any(c.raddr and c.raddr.port == port for c in process.net_connections()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
