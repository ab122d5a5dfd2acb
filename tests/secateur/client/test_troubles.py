"""A service that is down, slow, busy, or answers garbage or half a body; what is retried, raised, passed through."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from bad_server import bad_server, dead_url, response

from secateur import Client, ServiceError, ServiceUnavailableError
from secateur.client import BadResponseError, exchange, passed_through
from secateur.client.exchange import backoff_s, parse_retry_after
from secateur.models.types import PruneResult

QUERY = "When was it finished?"
TEXTS = ["It was finished in 1889. It rained.", "", "Bread."]
GOOD = json.dumps(
    {
        "id": "1",
        "model": "m",
        "results": [
            {
                "index": i,
                "id": None,
                "score": 0.5,
                "text": "",
                "spans": [],
                "line_spans": [],
                "format": "text",
                "kept_units": 0,
                "total_units": 0,
                "empty": True,
                "metadata": None,
            }
            for i in range(3)
        ],
        "threshold": 0.1,
        "usage": {"query_tokens": 1, "input_tokens": 9, "output_tokens": 0, "compression": 1.0},
        "timings": {"queue_ms": 0, "tokenize_ms": 0, "inference_ms": 0, "total_ms": 0},
        "warnings": [],
    }
).encode()
PROBLEM = json.dumps({"title": "Too Many Requests", "status": 429, "detail": "9 tokens are waiting already"}).encode()


def prune(url: str, **settings: Any) -> PruneResult:
    with Client(url, **settings) as client:
        return client.prune(QUERY, TEXTS)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BASE_S", 0.01)


def test_a_service_that_is_down_is_an_error() -> None:
    with pytest.raises(ServiceUnavailableError, match=r"cannot be reached: ConnectError.* \(tried 3 times\)"):
        prune(dead_url(), retries=2)


def test_passthrough_gives_everything_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = prune(dead_url(), retries=2, on_error="passthrough")
    assert passed_through(result)
    assert [(item.index, item.text, item.spans, item.empty) for item in result.results] == [
        (0, TEXTS[0], ((0, len(TEXTS[0])),), False),
        (1, "", (), True),
        (2, TEXTS[2], ((0, len(TEXTS[2])),), False),
    ]
    assert [item.line_spans for item in result.results] == [((1, 1),), (), ((1, 1),)]
    assert {item.format for item in result.results} == {"text"}
    assert {item.score for item in result.results} == {0.0}
    assert "cannot be reached" in result.warnings[0]
    assert "passed through unpruned" in caplog.text


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "502 Bad Gateway"])
def test_a_busy_service_is_asked_again(status: str) -> None:
    def behave(number: int, raw: socket.socket) -> None:
        raw.sendall(response(status, PROBLEM, "Retry-After: 0") if number < 3 else response("200 OK", GOOD))

    with bad_server(behave) as server:
        assert len(prune(server.url, retries=2).results) == 3
    assert server.requests == 3


@pytest.mark.slow
def test_retry_after_is_waited_for() -> None:
    def behave(number: int, raw: socket.socket) -> None:
        raw.sendall(response("429 Busy", PROBLEM, "Retry-After: 1") if number == 1 else response("200 OK", GOOD))

    with bad_server(behave) as server:
        started = time.monotonic()
        prune(server.url, retries=2)
    assert time.monotonic() - started >= 1.0


def test_a_service_that_stays_busy_is_an_error_with_its_words() -> None:
    busy, said = response("429 Busy", PROBLEM), r"status 429: 9 tokens are waiting already \(tried 3 times\)"
    with (
        bad_server(lambda number, raw: raw.sendall(busy)) as server,
        pytest.raises(ServiceUnavailableError, match=said) as info,
    ):
        prune(server.url, retries=2)
    assert (info.value.status, info.value.detail) == (429, "9 tokens are waiting already")
    assert server.requests == 3


def test_a_wait_past_the_timeout_is_not_begun() -> None:
    busy = response("429 Busy", PROBLEM, "Retry-After: 25")
    with bad_server(lambda number, raw: raw.sendall(busy)) as server, pytest.raises(ServiceUnavailableError):
        started = time.monotonic()
        prune(server.url, retries=2, timeout_s=20.0)
    assert time.monotonic() - started < 20
    assert server.requests == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "504 Gateway Timeout", "413 Too Large"])
def test_other_failures_are_not_repeated(status: str) -> None:
    with bad_server(lambda number, raw: raw.sendall(response(status, b""))) as server, pytest.raises(ServiceError):
        prune(server.url, retries=2)
    assert server.requests == 1


@pytest.mark.slow
@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_a_slow_service_is_given_up_in_time(drip: bool) -> None:
    end = threading.Event()

    def behave(number: int, raw: socket.socket) -> None:
        if drip:
            raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not end.wait(0.1):
            if drip:
                raw.sendall(b" ")

    with bad_server(behave) as server:
        started = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match=r"no answer from .* within 1 s; send fewer passages"):
            prune(server.url, timeout_s=1.0)
        assert 0.9 < time.monotonic() - started < 30
        end.set()
    assert server.requests == 1


GARBAGE = {
    "html": (response("200 OK", b"<html>welcome</html>"), "not JSON: '<html>welcome</html>'"),
    "empty": (response("200 OK", b""), "not JSON: it is empty"),
    "binary": (response("200 OK", bytes(range(256))), "not JSON"),
    "list": (response("200 OK", b"[]"), "is malformed: it is []"),
    "deep": (response("200 OK", b"[" * 20_000), "not JSON"),
    "few": (response("200 OK", GOOD.replace(b'"index": 2', b'"index": 1')), "`results[2].index` is 1"),
    "index": (response("200 OK", GOOD.replace(b'"index": 2', b'"index": 3')), "`results[2].index` is 3"),
    "type": (response("200 OK", GOOD.replace(b'"threshold": 0.1', b'"threshold": "a"')), "`threshold` is 'a'"),
    "bool": (
        response("200 OK", GOOD.replace(b'"input_tokens": 9', b'"input_tokens": true')),
        "`usage.input_tokens` is True",
    ),
    "span": (
        response("200 OK", GOOD.replace(b'"spans": []', b'"spans": [[0, 99]]')),
        "`results[0].spans[0]` is [0, 99]",
    ),
    "redirect": (response("302 Found", b"", "Location: http://127.0.0.1:9/"), "status 302"),
    "gzip": (response("200 OK", b"no gzip", "Content-Encoding: gzip"), "is compressed ('gzip')"),
    "no http": (b"\x00\x01\x02 hello\r\n\r\n", "an incomplete answer, or one that is not HTTP"),
    "half": (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + GOOD[:50], "an incomplete answer"),
    "cut head": (b"HTTP/1.1 200 OK\r\nContent-", "an incomplete answer"),
}


@pytest.mark.parametrize(("raw_answer", "message"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_and_half_a_body_are_clear_errors(raw_answer: bytes, message: str) -> None:
    with bad_server(lambda number, raw: raw.sendall(raw_answer)) as server:
        with pytest.raises(BadResponseError) as info:
            prune(server.url, retries=2)
        assert message in str(info.value)
        assert passed_through(prune(server.url, retries=2, on_error="passthrough"))


def test_a_missing_passage_is_noticed() -> None:
    content = json.loads(GOOD)
    content["results"].pop()
    answer = response("200 OK", json.dumps(content).encode())
    with (
        bad_server(lambda number, raw: raw.sendall(answer)) as server,
        pytest.raises(BadResponseError, match="`results` is"),
    ):
        prune(server.url, retries=2)


def test_health_and_models_of_garbage() -> None:
    with (
        bad_server(lambda number, raw: raw.sendall(response("200 OK", b"hello"))) as server,
        Client(server.url) as client,
    ):
        with pytest.raises(BadResponseError, match="not JSON"):
            client.health()
        with pytest.raises(BadResponseError, match="not JSON"):
            client.models()
    with Client(dead_url()) as client, pytest.raises(ServiceUnavailableError):
        client.health()


def test_a_service_whose_engine_died_is_not_ready() -> None:
    content = json.dumps({"status": "failed", "models": ["m"]}).encode()
    with (
        bad_server(lambda number, raw: raw.sendall(response("503 Service Unavailable", content))) as server,
        Client(server.url) as client,
    ):
        health = client.health()
    assert (health.ready, health.models, server.requests) == (False, ("m",), 1)


def test_the_key_is_sent_and_never_shown() -> None:
    with bad_server(lambda number, raw: raw.sendall(response("401 Unauthorized", b""))) as server:
        with pytest.raises(ServiceError) as info:
            prune(server.url, api_key="secret-key")
        assert b"authorization: bearer secret-key" in server.heads[0].lower()
        with pytest.raises(ServiceError):
            prune(server.url.replace("http://", "http://user:pass@"), api_key="secret-key")
        head = server.heads[1].lower()
        assert b"authorization: basic " in head and b"x-api-key: secret-key" in head
    assert "secret-key" not in str(info.value) and "pass@" not in str(info.value)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    now = datetime.now(UTC)
    assert parse_retry_after("7") == 7
    assert 60 < (parse_retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True)) or 0) <= 90
    assert parse_retry_after(format_datetime(now - timedelta(seconds=90), usegmt=True)) == 0
    assert [parse_retry_after(value) for value in (None, "", "soon", "-1", "1.5", "Thu, 99 Foo")] == [None] * 6


def test_waits_are_drawn_below_a_bound_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BASE_S", 1.0), ("CAP_S", 4.0), ("MAX_RETRY_AFTER_S", 10.0)):
        monkeypatch.setattr(exchange, name, value)
    for failures, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        waits = [backoff_s(failures) for _ in range(200)]
        assert 0 <= min(waits) < bound / 4 and bound * 3 / 4 < max(waits) <= bound
    assert 10 <= backoff_s(1, retry_after_s=1e9) <= 11


def test_a_missing_httpx_is_one_line_with_the_command(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\nimport secateur\n"
        "try: secateur.Client('http://x')\nexcept secateur.SecateurError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "httpx is not installed; run: pip install 'secateur[client]'\n"
