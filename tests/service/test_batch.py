"""`POST /v1/prune/batch`: a line for a line."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from secateur.models.pruner import Pruner

PATIENCE = 300.0
NDJSON = {"Content-Type": "application/x-ndjson"}
TOWER = "The Eiffel Tower stands in Paris. It was finished in March 1889. Millions visit it every year."


def batch(client: httpx.Client, *lines: object, **headers: str) -> list[dict[str, Any]]:
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    response = client.post("/v1/prune/batch", content=content.encode(), headers={**NDJSON, **headers})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def body(number: int) -> dict[str, Any]:
    return {"query": f"When was tower {number} finished?", "passages": [TOWER] * (number % 5 + 1), "return_units": True}


def test_each_line_gets_what_it_would_get_alone(client: httpx.Client, pruner: Pruner) -> None:
    answers = batch(client, *(body(number) for number in range(40)))
    assert [answer["line"] for answer in answers] == list(range(1, 41))
    for number, answer in enumerate(answers):
        expected = pruner.prune(body(number)["query"], body(number)["passages"], return_units=True)
        assert [item["text"] for item in answer["results"]] == [item.text for item in expected.results]
        for got, want in zip(answer["results"], expected.results, strict=True):
            assert got["score"] == pytest.approx(want.score, abs=1e-4)
            assert [unit["score"] for unit in got["units"]] == pytest.approx(
                [unit.score for unit in want.units or ()], abs=1e-4
            )


def test_a_wrong_line_is_an_error_of_its_own(client: httpx.Client) -> None:
    answers = batch(client, body(1), "{not json", "", {"query": "q"}, {**body(2), "model": "other"}, body(3))
    assert [answer["line"] for answer in answers] == [1, 2, 4, 5, 6]
    assert [answer.get("error", {}).get("status") for answer in answers] == [None, 400, 422, 404, None]
    assert answers[1]["error"]["detail"].startswith("body: ")
    assert answers[2]["error"]["errors"][0]["field"] == "passages"
    assert "secateur-nano-en" in answers[3]["error"]["detail"]


def test_nothing_gives_nothing(client: httpx.Client) -> None:
    assert batch(client) == []
    assert batch(client, "", "  ", "\r") == []


def test_lines_may_end_as_on_windows(client: httpx.Client) -> None:
    content = "\r\n".join(json.dumps(body(number)) for number in range(3)) + "\r\n"
    response = client.post("/v1/prune/batch", content=content.encode(), headers=NDJSON)
    assert [json.loads(line)["line"] for line in response.text.splitlines()] == [1, 2, 3]


def test_a_wrong_timeout_is_an_error_of_the_whole(client: httpx.Client) -> None:
    response = client.post("/v1/prune/batch", content=b"{}", headers={**NDJSON, "X-Request-Timeout-Ms": "soon"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "X-Request-Timeout-Ms"


def test_a_line_that_takes_too_long_is_an_error_of_its_own(client: httpx.Client) -> None:
    slow = {"query": "When was it finished?", "passages": [TOWER * 400] * 8}
    answers = batch(client, slow, **{"X-Request-Timeout-Ms": "50"})
    assert answers[0]["error"]["status"] in {422, 504}  # refused at once where the speed is known already


@pytest.mark.slow
def test_answers_come_while_others_are_worked_on(client: httpx.Client) -> None:
    lines = [json.dumps(body(number)) for number in range(200)]
    started = time.monotonic()
    with client.stream("POST", "/v1/prune/batch", content="\n".join(lines).encode(), headers=NDJSON) as response:
        arrived = [time.monotonic() for _ in response.iter_lines()]
    assert len(arrived) == 200
    assert arrived[0] - started < 0.5 * (arrived[-1] - started)


LARGE = {"query": "When?", "passages": [{"text": TOWER, "metadata": {"x": "x" * 100_000}}]}


@pytest.mark.slow
def test_a_client_that_sends_all_before_it_reads_is_answered(client: httpx.Client) -> None:
    """Its answers are larger than what sockets hold, so reading and answering at once would block for ever."""
    answers = batch(client, *[LARGE] * 150)
    assert [answer["results"][0]["metadata"] for answer in answers] == [{"x": "x" * 100_000}] * 150


@pytest.mark.slow
def test_memory_does_not_grow_with_the_lines(server: Any, client: httpx.Client) -> None:
    process = psutil.Process(server.process.pid)
    batch(client, *[LARGE] * 100)
    before = process.memory_info().rss
    batch(client, *[LARGE] * 500)  # 50 MB
    assert process.memory_info().rss - before < 25e6


def test_a_client_that_goes_away_stops_its_lines(server: Any, client: httpx.Client) -> None:
    line = json.dumps({"query": "When?", "passages": [TOWER * 30] * 20})
    content = "\n".join([line] * 200).encode()
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        head = "POST /v1/prune/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        raw.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        raw.recv(100)

    deadline = time.monotonic() + PATIENCE
    while queued(client) > 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    assert queued(client) == 0  # the 200 lines would take far longer than that


@pytest.mark.parametrize(
    "given",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
    ],
)
def test_a_body_that_is_not_said_to_be_json_is_refused(client: httpx.Client, given: str) -> None:
    """A page of any origin may send these without being asked."""
    content = json.dumps(body(1)).encode()
    response = client.post("/v1/prune/batch", content=content, headers={"Content-Type": given} if given else {})
    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"] == "content-type"


@pytest.mark.parametrize(
    "given",
    [
        "application/x-ndjson",
        "application/x-ndjson; charset=utf-8",
        "APPLICATION/JSONL",
        "application/json",
        "application/json-lines",
    ],
)
def test_types_of_json_lines_are_read(client: httpx.Client, given: str) -> None:
    response = client.post("/v1/prune/batch", content=json.dumps(body(1)).encode(), headers={"Content-Type": given})
    assert response.status_code == 200
    assert "error" not in json.loads(response.text)


@pytest.mark.slow
def test_a_line_that_is_too_long_is_an_error_of_its_own(start_server: Any) -> None:
    """It is not read to its end: the next line has its own number and its answer."""
    with (
        start_server("--max-body-bytes", "1000") as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
    ):
        before = psutil.Process(server.process.pid).memory_info().rss
        answers = batch(client, body(0), '"' + "x" * 60_000_000 + '"', "x" * 1001, body(0))
        assert psutil.Process(server.process.pid).memory_info().rss - before < 30e6
    assert [answer["line"] for answer in answers] == [1, 2, 3, 4]
    assert [answer.get("error", {}).get("status") for answer in answers] == [None, 413, 413, None]


@pytest.mark.slow
def test_blank_lines_cost_next_to_nothing(client: httpx.Client) -> None:
    answers = batch(client, "\n" * 30_000_000, body(0), "\r\n" * 1_000_000)
    assert [answer["line"] for answer in answers] == [30_000_002]


@pytest.fixture(scope="module")
def full_disk(start_server: Any) -> Iterator[Any]:
    """A server that may write no file of more than two megabytes: writing on is an error as on a full disk."""
    with start_server() as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
        yield server


def test_a_batch_that_the_disk_does_not_take_is_refused(full_disk: Any) -> None:
    with httpx.Client(base_url=full_disk.url, timeout=PATIENCE) as client:
        files = len(psutil.Process(full_disk.process.pid).open_files())
        for lines, status in ((100, 200), (60_000, 507), (100, 200)):
            content = "\n".join([json.dumps({"query": "", "passages": []}).ljust(100)] * lines)
            response = client.post("/v1/prune/batch", content=content.encode(), headers=NDJSON)
            assert response.status_code == status
        assert len(psutil.Process(full_disk.process.pid).open_files()) == files
        text = client.get("/metrics").text
    assert 'secateur_failures_total{kind="no_room"} 1.0' in text
    assert "Traceback" not in full_disk.log.read_text()


@pytest.mark.slow
def test_others_do_not_wait_for_a_batch(server: Any, client: httpx.Client) -> None:
    """While a batch that takes long is worked on, small requests are answered between its lines."""
    line = {"query": "When was it finished?", "passages": [TOWER * 8] * 4}
    content = "\n".join([json.dumps(line)] * 400).encode()
    statuses: list[int] = []
    with (
        httpx.Client(base_url=server.url, timeout=PATIENCE) as other,
        client.stream("POST", "/v1/prune/batch", content=content, headers=NDJSON) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        for _ in range(8):
            # A step of the engine has 4,096 tokens: no more than two wait, and what one line has.
            assert queued(other) <= 3 * 4096
            statuses.append(other.post("/v1/prune", json={"query": "When?", "passages": [TOWER]}).status_code)
            for _ in range(5):
                next(lines)
    assert statuses == [200] * 8


def queued(client: httpx.Client) -> float:
    text = client.get("/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith("secateur_queue_tokens")).split()[-1])
