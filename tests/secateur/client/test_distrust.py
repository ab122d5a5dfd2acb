"""A service that is not trusted: its bytes and its time are bounded."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bad_server import bad_server, response
from prune_answer import QUERY, TEXTS, changed, field_pattern

from secateur import Client, ServiceUnavailableError
from secateur.client import BadResponseError, passed_through
from secateur.client.answers import Answers
from secateur.client.wire import answer_limit, body, split
from secateur.models.types import Passage, PruneRequest, PruneResult

NAN = float("nan")


def test_words_of_a_service_are_one_short_line() -> None:
    detail = {"detail": "a\x00b\x1b[31m\ud800\n" + "long " * 2_000}
    error = Answers().error(503, json.dumps(detail).encode())
    assert len(str(error)) < 600 and str(error).isprintable()
    number = "9" * 5_000
    assert f"passages[{number[:9]}" in str(
        Answers().error(400, json.dumps({"detail": f"passages[{number}]: x"}).encode(), 7)
    )


def prune(url: str, texts: list[str] = TEXTS, **settings: Any) -> PruneResult:
    with Client(url, **settings) as client:
        return client.prune(QUERY, texts)


def _drip(
    head: bytes, piece: bytes, pause_s: float
) -> Callable[[threading.Event], Callable[[int, socket.socket], None]]:
    def of(end: threading.Event) -> Callable[[int, socket.socket], None]:
        def behave(number: int, raw: socket.socket) -> None:
            raw.sendall(head)
            while not end.wait(pause_s):
                raw.sendall(piece)

        return behave

    return of


DRIPS = {
    "head": _drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", 0.2),
    "headers": _drip(b"HTTP/1.1 200 OK\r\n", b"X-Slow: a\r\n", 0.2),
    "early hints": _drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.2),
    "chunks": _drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.2),
    "fast": _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" ", 0.002),
}


@pytest.mark.slow
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_no_drip_outlasts_the_timeout(drip: Any) -> None:
    end = threading.Event()
    with bad_server(drip(end)) as server:
        started = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match=r"within 0\.5 s"):
            prune(server.url, timeout_s=0.5)
        assert time.monotonic() - started < 10  # a drip goes on for ever
        assert passed_through(prune(server.url, timeout_s=0.3, on_error="passthrough"))
        end.set()


@pytest.mark.slow
def test_a_service_that_reads_slowly_is_given_up_in_time() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    end = threading.Event()

    def serve() -> None:
        raw, _ = listener.accept()
        with raw:
            while not end.wait(0.05):
                raw.recv(2048)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match="within 1 s"):
        prune(f"http://127.0.0.1:{listener.getsockname()[1]}", ["x" * 16_000_000], timeout_s=1.0)
    assert time.monotonic() - started < 30
    end.set()
    thread.join(10)
    listener.close()


@pytest.mark.parametrize("status", ["200 OK", "500 Failed", "401 Unauthorized"])
def test_an_endless_answer_is_cut_off(status: str) -> None:
    sent: list[int] = []

    def behave(number: int, raw: socket.socket) -> None:
        raw.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())
        while sum(sent) < 1 << 30:
            sent.append(raw.send(b" " * 65536))

    with bad_server(behave) as server, pytest.raises(BadResponseError, match="is longer than"):
        prune(server.url, retries=0)
    assert sum(sent) < 64 << 20  # what the limit and the kernel's buffers hold


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZip"])
def test_a_bomb_is_not_decompressed(encoding: str) -> None:
    bomb = response("200 OK", gzip.compress(b" " * 10_000_000), f"Content-Encoding: {encoding}")
    with bad_server(lambda number, raw: raw.sendall(bomb)) as server:
        with pytest.raises(BadResponseError, match="is compressed"):
            prune(server.url, retries=0)
        assert b"accept-encoding: identity" in server.heads[0].lower()
        assert passed_through(prune(server.url, retries=0, on_error="passthrough"))


def test_values_that_are_wrong_on_the_wire_are_passed_through() -> None:
    for path, value in (("results.0.score", 10**399), ("results.0.score", NAN), ("results.0.text", "other")):
        answer = response("200 OK", json.dumps(changed(path, value)).encode())
        with bad_server(lambda number, raw, answer=answer: raw.sendall(answer)) as server:  # type: ignore[misc]
            result = prune(server.url, on_error="passthrough")
        assert passed_through(result) and field_pattern(path).replace("\\", "") in result.warnings[0]


def test_a_huge_passage_is_no_larger_in_the_limit_than_it_is() -> None:
    request = PruneRequest("q", (Passage("a" * 100_000),))
    (part,) = split(request)
    content = body(request, part, None)
    assert len(content) < answer_limit(request, part, content) < 25 * len(content)
