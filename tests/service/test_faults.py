"""What clients of a real server see when parts of it fail: every request is answered, rightly or by an error."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from secateur.models.pruner import Pruner

PATIENCE = 300.0
TOWER = "The Eiffel Tower stands in Paris. It was finished in March 1889. Millions visit it every year."
QUERY = "When was the Eiffel Tower finished?"


class Troubled:
    """A running `troubled_server.py`."""

    def __init__(self, log: Path) -> None:
        script = Path(__file__).with_name("troubled_server.py")
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script)], cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.port = int(found[1])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)

    def status(self, text: str, **headers: str) -> int:
        """Prune a passage and return the status; 0 when the connection is refused or lost without a status."""
        try:
            response = self.client.post("/v1/prune", json={"query": QUERY, "passages": [text]}, headers=headers)
        except httpx.TransportError:
            return 0
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == response.status_code
        return response.status_code

    def many(self, texts: list[str]) -> list[int]:
        """Prune passages at once, on connections that are open before."""
        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(self.status, texts))


@pytest.fixture
def troubled(tmp_path: Path) -> Iterator[Troubled]:
    server = Troubled(tmp_path / "log")
    yield server
    server.client.close()
    server.process.kill()
    server.process.wait()


def test_a_failing_runtime_fails_the_requests_that_it_fails_on(troubled: Troubled) -> None:
    statuses = troubled.many([TOWER, "Whales swim.", TOWER, TOWER, "Whales sing. " * 50] * 4)
    assert statuses == [200, 500, 200, 200, 500] * 4
    assert troubled.client.get("/health/ready").status_code == 200
    assert "the runtime met whales" in troubled._log.read_text()


def test_many_requests_at_fault_do_not_end_the_service(troubled: Troubled) -> None:
    assert [troubled.status("Whales swim.") for _ in range(8)] == [500] * 8
    assert troubled.status(TOWER) == 200
    assert troubled.client.get("/health/ready").status_code == 200


def test_a_poisoned_runtime_ends_the_process(troubled: Troubled) -> None:
    """It answers nothing but errors from then on, so another process must take over."""
    assert troubled.status(TOWER) == 200
    statuses = troubled.many([TOWER, "Ravens fly.", TOWER, TOWER])
    assert statuses[1] == 503
    assert 500 not in statuses
    assert troubled.process.wait(PATIENCE) == 1


@pytest.mark.slow
def test_a_dead_engine_ends_the_process_and_nobody_hangs(troubled: Troubled) -> None:
    with ThreadPoolExecutor(32) as pool:
        slow = pool.submit(troubled.status, "Turtles crawl.")
        time.sleep(0.5)
        waiting = [pool.submit(troubled.status, text) for text in ["Volcanoes erupt.", *[TOWER] * 20]]
        statuses = [answer.result(PATIENCE) for answer in waiting]
        assert slow.result(PATIENCE) == 200
    assert statuses[0] == 503
    assert set(statuses) <= {200, 503, 0}
    assert troubled.process.wait(PATIENCE) == 1
    with pytest.raises(httpx.TransportError):
        troubled.client.get("/health/ready")


@pytest.mark.slow
def test_requests_that_are_late_are_told_so(troubled: Troubled) -> None:
    assert troubled.status("Turtles crawl.", **{"X-Request-Timeout-Ms": "200"}) == 504
    assert troubled.status(TOWER) == 200


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "soon", "", "9" * 30, "300001", "١٢"])
def test_a_wrong_timeout_is_named(client: httpx.Client, given: str) -> None:
    headers = {b"X-Request-Timeout-Ms": given.encode()}
    response = client.post("/v1/prune", json={"query": QUERY, "passages": [TOWER]}, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "X-Request-Timeout-Ms"


@pytest.fixture(scope="module")
def troubled_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    server = Troubled(tmp_path_factory.mktemp("troubled") / "log")
    yield server
    server.client.close()
    server.process.kill()
    server.process.wait()


def queue_tokens(client: httpx.Client) -> float:
    """Return the gauge of the work that has not ended."""
    found = re.search(r"^secateur_queue_tokens\S* (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def until_nothing_waits(client: httpx.Client) -> None:
    """Wait until all work has ended."""
    deadline = time.monotonic() + PATIENCE
    while queue_tokens(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)


LONG = [
    pytest.param({"passages": ["\x0ca" * 1_000_000]}, id="form feeds"),
    pytest.param({"passages": ["ab. Cd? " * 250_000]}, id="one block of short sentences"),
    pytest.param({"passages": ["a " * 1_000_000]}, id="one sentence"),
    pytest.param({"passages": ["- a\n"] * 10_000, "query": "when " * 1800, "truncate_query": True}, id="many passages"),
]


@pytest.mark.slow
@pytest.mark.parametrize("body", LONG)
def test_work_beyond_its_deadline_stops_and_keeps_nobody_waiting(client: httpx.Client, body: dict[str, Any]) -> None:
    """Four such requests with 300 ms each: small ones are answered at once, and the gauge tells what still runs."""
    content = json.dumps({"query": QUERY, **body}).encode()

    def attack(_: int) -> int:
        headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": "300"}
        return httpx.post(f"{client.base_url}/v1/prune", content=content, headers=headers, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(4) as pool:
        attacks = pool.map(attack, range(4))
        small = {"query": QUERY, "passages": [TOWER]}
        for _ in range(5):
            assert client.post("/v1/prune", json=small).status_code == 200
            assert client.get("/health/ready").status_code == 200
        assert set(attacks) <= {504, 422, 429}
    assert client.post("/v1/prune", json=small).status_code == 200
    until_nothing_waits(client)


@pytest.mark.slow
def test_a_request_that_can_never_be_done_in_time_starves_nobody(client: httpx.Client) -> None:
    hopeless = {"query": "when " * 1800, "truncate_query": True, "passages": ["a"] * 10_000}
    small = {"query": QUERY, "passages": [TOWER]}
    assert client.post("/v1/prune", json=small).status_code == 200
    headers = {"X-Request-Timeout-Ms": "5000"}
    with ThreadPoolExecutor(8) as pool:
        refused = pool.submit(
            httpx.post, f"{client.base_url}/v1/prune", json=hopeless, headers=headers, timeout=PATIENCE
        )
        others = [pool.submit(client.post, "/v1/prune", json=small) for _ in range(29)]
        assert [other.result(PATIENCE).status_code for other in others] == [200] * 29
        assert refused.result(PATIENCE).status_code in {422, 504}
    until_nothing_waits(client)
    # Now that a large request has been measured.
    several = {"query": QUERY, "passages": [TOWER * 20] * 8}
    assert client.post("/v1/prune", json=several).status_code == 200
    response = client.post("/v1/prune", json=hopeless, headers=headers)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "passages"
    assert re.search(r"would take about \S+ s \(\d+ tokens at \d+ per second\)", error["problem"])


def test_work_of_a_client_that_is_gone_is_dropped(troubled_shared: Troubled) -> None:
    """Ten clients whose requests would take a second each go away: the next one does not wait for them."""
    # Each larger than a step of the engine, so that every one is a step of its own.
    content = json.dumps({"query": QUERY, "passages": ["Turtles crawl. " * 1500]}).encode()
    head = f"POST /v1/prune HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", troubled_shared.port)) as raw:
            raw.sendall(head.encode() + content)
            time.sleep(0.1)
    started = time.monotonic()
    assert troubled_shared.status(TOWER) == 200
    assert time.monotonic() - started < 8
    until_nothing_waits(troubled_shared.client)


@pytest.mark.slow
def test_sigterm_amid_requests_answers_all_that_were_taken(start_server: Any, pruner: Pruner) -> None:
    """A hundred requests are under way: each is answered rightly, or its connection was never taken."""
    with start_server() as server:
        texts = [f"{TOWER} The tower number {number} is {number} metres tall." for number in range(100)]

        def ask(text: str) -> tuple[int, list[str]]:
            try:
                response = httpx.post(
                    f"{server.url}/v1/prune", json={"query": QUERY, "passages": [text] * 4}, timeout=PATIENCE
                )
            except httpx.TransportError:
                return 0, []
            return response.status_code, [item["text"] for item in response.json().get("results", ())]

        with ThreadPoolExecutor(25) as pool:
            answers = [pool.submit(ask, text) for text in texts]
            while sum(answer.done() for answer in answers) < 10:
                time.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            results = [answer.result(PATIENCE) for answer in answers]
        assert server.process.wait(PATIENCE) == 0
    answered = 0
    for text, (status, found) in zip(texts, results, strict=True):
        assert status in (0, 200, 503)
        if status == 200:
            answered += 1
            assert found == [item.text for item in pruner.prune(QUERY, [text] * 4).results]
    assert answered >= 10
