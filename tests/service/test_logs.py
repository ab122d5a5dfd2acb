"""What a server logs: a JSON object a line, with the request's id and numbers, and without anybody's text."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

PATIENCE = 300.0
QUERY = "When was the zyxotower finished?"
PASSAGES = [
    {"text": "The qwibblefish swims. It was finished in 1889.", "title": "Vrontitle", "metadata": {"m": "mumbl"}}
]
PRIVATE = ("zyxotower", "qwibblefish", "vrontitle", "mumbl")
GOOD = {"query": QUERY, "passages": PASSAGES}


def entries(server: Any, **wanted: Any) -> list[dict[str, Any]]:
    """Return the log's lines that have the fields, once there is one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        if found := [line for line in lines if wanted.items() <= line.items()]:
            return found
        assert time.monotonic() < deadline, lines[-5:]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def logged(start_server: Any) -> Iterator[Any]:
    with start_server("--log-level", "debug") as server:
        yield server


def post(server: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/prune", json=GOOD, headers=headers, timeout=PATIENCE)


def test_a_request_is_a_line_with_its_numbers(logged: Any) -> None:
    response = post(logged, **{"X-Request-Id": "trace/1:a-b_c"})
    assert response.headers["x-request-id"] == "trace/1:a-b_c"
    (line,) = entries(logged, request_id="trace/1:a-b_c")
    usage, timings = response.json()["usage"], response.json()["timings"]
    assert (line["level"], line["message"]) == ("info", "request")
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/prune", 200)
    assert (line["passages"], line["model"]) == (1, response.json()["model"])
    assert {name: line[name] for name in ("input_tokens", "output_tokens")} == {
        name: usage[name] for name in ("input_tokens", "output_tokens")
    }
    for stage in ("queue_ms", "tokenize_ms", "inference_ms"):
        assert line[stage] == pytest.approx(timings[stage], abs=0.01)
    assert line["duration_ms"] >= timings["total_ms"] - 0.01
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "é", '"}'])
def test_an_id_that_could_not_stand_in_a_log_is_replaced(logged: Any, given: str) -> None:
    headers = {b"X-Request-Id": given.encode()}
    made = httpx.post(f"{logged.url}/v1/prune", json=GOOD, headers=headers, timeout=PATIENCE).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert len(entries(logged, request_id=made)) == 1


def test_errors_have_the_id_and_their_kind(logged: Any) -> None:
    url = f"{logged.url}/v1/prune"
    for content, status, kind in [(b"{", 400, "unreadable"), (b'{"query": "q"}', 422, "invalid")]:
        response = httpx.post(url, content=content, headers={"Content-Type": "application/json"}, timeout=PATIENCE)
        assert response.status_code == status
        (line,) = entries(logged, request_id=response.json()["request_id"])
        assert (line["status"], line["failure"]) == (status, kind)


def test_paths_that_there_are_not_are_one_route(logged: Any) -> None:
    response = httpx.get(f"{logged.url}/qwibblefish/{'x' * 50}", timeout=PATIENCE)
    (line,) = entries(logged, request_id=response.json()["request_id"])
    assert (line["route"], line["failure"]) == ("unmatched", "not_found")
    text = httpx.get(f"{logged.url}/metrics", timeout=PATIENCE).text
    assert 'secateur_requests_total{route="unmatched",status="404"} ' in text


def test_a_batch_is_one_line_with_its_sums(logged: Any) -> None:
    content = "\n".join([json.dumps(GOOD)] * 3 + ["{"])
    response = httpx.post(
        f"{logged.url}/v1/prune/batch",
        content=content,
        headers={"Content-Type": "application/x-ndjson"},
        timeout=PATIENCE,
    )
    (line,) = entries(logged, request_id=response.headers["x-request-id"])
    tokens = [json.loads(answer)["usage"]["input_tokens"] for answer in response.text.splitlines()[:3]]
    assert (line["requests"], line["passages"], line["input_tokens"]) == (3, 3, sum(tokens))


def test_probes_are_logged_on_debug_only(logged: Any, server: Any) -> None:
    for asked in (logged, server):
        httpx.get(f"{asked.url}/health/live", timeout=PATIENCE)
        post(asked)
    assert entries(logged, route="/health/live")[0]["level"] == "debug"
    entries(server, route="/v1/prune")
    assert "/health/live" not in server.log.read_text()


def test_no_log_has_anybodys_text(logged: Any) -> None:
    for body in (GOOD, {**GOOD, "threshold": QUERY}, {**GOOD, "model": "zyxotower"}, {"query": PASSAGES}):
        httpx.post(f"{logged.url}/v1/prune", json=body, timeout=PATIENCE)
    response = httpx.post(f"{logged.url}/v1/prune?q=zyxotower", json=GOOD, timeout=PATIENCE)
    entries(logged, request_id=response.headers["x-request-id"])
    log = logged.log.read_text().lower()
    assert [word for word in PRIVATE if word in log] == []
    assert "traceback" not in log


@pytest.mark.slow
def test_the_text_is_logged_where_that_is_switched_on(start_server: Any) -> None:
    with start_server("--log-text") as server:
        response = post(server, **{"X-Request-Id": "with-text"})
        (line,) = entries(server, request_id="with-text", message="text")
        assert line["query"] == QUERY
        (passage,) = line["passages"]
        assert (passage["text"], passage["title"]) == (PASSAGES[0]["text"], "Vrontitle")
        assert passage["kept"] == response.json()["results"][0]["text"]


@pytest.mark.slow
def test_logs_can_be_text(start_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_LOG_FORMAT", "text")
    monkeypatch.setenv("SECATEUR_API_KEYZ", "a slip of the pen")
    with start_server() as server:
        id = post(server).headers["x-request-id"]
        deadline = time.monotonic() + PATIENCE
        while id not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        log = server.log.read_text()
    assert re.search(
        rf"^[0-9TZ:.-]+ INFO secateur\.access: request request_id={id} method=POST route=/v1/prune", log, re.M
    )
    assert "WARNING secateur.service.app: unknown setting SECATEUR_API_KEYZ" in log
    assert "slip" not in log


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/v1/prune"])
def test_every_response_has_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
