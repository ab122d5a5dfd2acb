"""Hostile clients on raw sockets: each gets an error or loses its connection, and the server goes on for all others."""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest
from raw_http import connect, read

PATIENCE = 300.0
GOOD = json.dumps({"query": "When was it finished?", "passages": ["It was finished in 1889."]}).encode()
HEAD = b"POST /v1/prune HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
JSON = {"Content-Type": "application/json"}
RECEIVE_S = 2.0  # the server's receive_timeout_s


@pytest.fixture(scope="module")
def hostile(start_server: Any) -> Iterator[Any]:
    """A server of little patience."""
    with start_server("--receive-timeout-s", str(RECEIVE_S)) as server:
        yield server


@pytest.fixture(autouse=True)
def _stays_healthy(hostile: Any) -> Iterator[None]:
    """After every test the same process still answers, and has met nothing unexpected."""
    yield
    assert hostile.process.poll() is None
    assert httpx.post(f"{hostile.url}/v1/prune", content=GOOD, headers=JSON, timeout=PATIENCE).status_code == 200
    assert "Traceback" not in hostile.log.read_text()


def status(response: bytes) -> int:
    """Return the status of an answer, which is one with problem details, and the first should there be more."""
    head, _, body = response.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert found, response[:200]
    assert b"content-type: application/problem+json" in head.lower()
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length
    assert json.loads(body[: int(length[1])])["status"] == int(found[1])
    return int(found[1])


def ask(server: Any, *parts: bytes) -> bytes:
    """Send bytes, and the end of sending unless the server is asked to close; return the answer.

    The server takes the end of sending for a client that has left, and answers it only if it has the answer already.
    """
    with connect(server) as raw:
        try:
            for part in parts:
                raw.sendall(part)
            if b"Connection: close" not in parts[0]:
                raw.shutdown(socket.SHUT_WR)
        except OSError:  # it has heard enough and closed; its answer can be read all the same
            pass
        return read(raw)


def with_body(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(with_body(b"not JSON"), 400, id="not JSON"),
        pytest.param(with_body(GOOD[:-1] + b', "query": "q"}'), 400, id="duplicate keys"),
        pytest.param(with_body(GOOD.replace(b"When", b"\xff\xfe")), 400, id="invalid UTF-8"),
        pytest.param(with_body(b"[" * 1_000_000), 400, id="deep nesting"),
        pytest.param(with_body(b'{"a":' * 1_000_000), 400, id="deep objects"),
        pytest.param(with_body(GOOD[:-1] + b', "top_n": ' + b"9" * 1_000_000 + b"}"), 400, id="a million digits"),
        pytest.param(with_body(GOOD[:-1] + b', "threshold": 1e999999999}'), 422, id="a huge exponent"),
        pytest.param(with_body(GOOD[:-1] + b', "threshold": NaN}'), 422, id="NaN"),
        pytest.param(with_body(GOOD, HEAD.replace(b"application/json", b"text/xml")), 415, id="wrong type"),
        pytest.param(
            with_body(GOOD, HEAD.replace(b"application/json", b"multipart/form-data; boundary=x")), 415, id="multipart"
        ),
        pytest.param(
            with_body(gzip.compress(bytes(100_000_000)), HEAD + b"Content-Encoding: gzip\r\n"), 415, id="gzip bomb"
        ),
        pytest.param(with_body(GOOD, HEAD + b"Content-Encoding: br, gzip\r\n"), 415, id="two encodings"),
        pytest.param(HEAD + b"Content-Length: 999999999999999999\r\n\r\n", 413, id="a huge body is announced"),
        pytest.param(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, id="a length of 5,000 digits"),
        pytest.param(HEAD + b"Content-Length: -5\r\n\r\n", 400, id="a negative length"),
        pytest.param(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, id="two lengths"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400, id="compressed chunks"),
        pytest.param(HEAD + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n", 400, id="a huge header"),
        pytest.param(HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n", 400, id="many headers"),
        pytest.param(b"POST /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n", 400, id="a huge path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404, id="HTTP/2"),
        pytest.param(bytes(range(256)) * 300, 400, id="noise"),
        pytest.param(HEAD.replace(b"Host: x\r\n", b"") + b"\r\n", 400, id="no host"),
        pytest.param(HEAD + b"Bad Header: x\r\n\r\n", 400, id="a header with a space"),
        pytest.param(b"BREW /v1/prune HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, id="an unknown method"),
    ],
)
def test_a_hostile_request_is_refused(hostile: Any, request_: bytes, expected: int) -> None:
    assert status(ask(hostile, request_)) == expected


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_body_of_100_mb_is_refused_and_not_kept(hostile: Any, chunked: bool) -> None:
    """The answer comes before the body was sent, and reaches also a client that first sends everything."""
    process = psutil.Process(hostile.process.pid)
    before = process.memory_info().rss
    part = b'"' + b"a" * 999_999
    if chunked:
        parts = [HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"]
        parts += [b"%x\r\n" % len(part) + part + b"\r\n"] * 100 + [b"0\r\n\r\n"]
    else:
        parts = [HEAD + b"Connection: close\r\nContent-Length: 100000000\r\n\r\n"] + [part] * 100
    assert status(ask(hostile, *parts)) == 413
    assert process.memory_info().rss - before < 80e6


def test_a_client_that_asks_first_need_not_send_its_body(hostile: Any) -> None:
    """curl does so with large bodies."""
    started = time.monotonic()
    response = ask(hostile, HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n")
    assert status(response) == 413
    assert b"100 Continue" not in response
    with connect(hostile) as raw:
        raw.sendall(HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD))
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(GOOD)
        assert read(raw).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started < PATIENCE


def test_a_connection_is_kept_after_a_refusal(hostile: Any) -> None:
    """What was refused has been taken off the wire, so that the next request is read from its begin."""
    with connect(hostile) as raw:
        for _ in range(2):
            raw.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
        raw.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
        assert re.findall(rb"HTTP/1\.1 (\d+) ", read(raw)) == [b"415", b"415", b"200"]


@pytest.mark.slow
def test_slow_heads_and_bodies_are_given_up(hostile: Any) -> None:
    """Also when a byte comes now and then, which restarts no clock."""
    with connect(hostile) as silent, connect(hostile) as head, connect(hostile) as body, connect(hostile) as again:
        started = time.monotonic()
        head.sendall(HEAD)
        body.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        again.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
        answer = b""
        while not answer.endswith(b'"warnings":[]}'):
            part = again.recv(65536)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        again.sendall(HEAD)
        try:
            while time.monotonic() - started < RECEIVE_S * 1.5:
                head.sendall(b"X-A: b\r\n")
                body.sendall(b" ")
                time.sleep(0.2)
        except ConnectionError:
            pass
        assert read(silent) == b""
        assert read(head) == b""
        assert read(again) == b""
        assert status(read(body)) == 408
        assert time.monotonic() - started < RECEIVE_S * 20


@pytest.mark.slow
def test_a_slow_but_steady_upload_is_read(start_server: Any) -> None:
    """A body has a second more for each 64 KiB, so that a large one on a thin line arrives."""
    body = GOOD.ljust(200_000)
    with start_server("--receive-timeout-s", "1") as server, connect(server) as raw:
        raw.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 20_000):
            raw.sendall(body[start : start + 20_000])
            time.sleep(0.2)
        assert read(raw).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_a_thousand_slow_connections_keep_nobody_waiting(hostile: Any) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(hostile)) for _ in range(1000)]
        for number, raw in enumerate(slow):
            raw.sendall(HEAD + (b"Content-Length: 1000\r\n\r\n{" if number % 2 else b""))
        # A server that is kept waiting by them answers never; how long it takes depends on the machine.
        assert httpx.post(f"{hostile.url}/v1/prune", content=GOOD, headers=JSON, timeout=PATIENCE).status_code == 200
        answers = [read(raw) for raw in slow]
        assert {status(answer) for answer in answers[1::2]} == {408}
        assert set(answers[::2]) == {b""}
    process = psutil.Process(hostile.process.pid)
    deadline = time.monotonic() + PATIENCE
    while len(process.net_connections()) > 20:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_client_that_never_reads_is_let_go(hostile: Any) -> None:
    """Its answer is larger than what the system's buffers take."""
    passages = [{"text": "It was. " * 20, "metadata": {"a": "x" * 100_000}}] * 200
    body = json.dumps({"query": "q", "passages": passages}).encode()
    with connect(hostile) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        deadline = time.monotonic() + PATIENCE
        process = psutil.Process(hostile.process.pid)

        def there() -> bool:
            port = raw.getsockname()[1]
            return any(c.raddr and c.raddr.port == port for c in process.net_connections())

        assert there()
        while there():
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_clients_that_reset_or_leave_midway_do_no_harm(hostile: Any) -> None:

    def failures(kind: str) -> float:
        text = httpx.get(f"{hostile.url}/metrics", timeout=PATIENCE).text
        return float((re.findall(rf'secateur_failures_total{{kind="{kind}"}} (\S+)', text) or ["0"])[0])

    before = {kind: failures(kind) for kind in ("client_gone", "unreadable", "error")}
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
    for end in range(1, len(whole), 25):
        with connect(hostile) as raw:
            raw.sendall(whole[:end])
            if end % 2:  # close by a reset
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + PATIENCE
    while failures("client_gone") < before["client_gone"] + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {kind: failures(kind) for kind in ("unreadable", "error")} == {
        kind: before[kind] for kind in ("unreadable", "error")
    }
