"""The service on a local Ray cluster: real replicas, of which one is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from secateur.models.errors import InputError
from secateur.models.pruner import Pruner
from secateur.service.on_ray import build

CONFIG = Path(__file__).parents[2] / "deploy" / "ray" / "serve.yaml"
PATIENCE = 300.0  # seconds; a machine that also trains is slow
QUERY = "When was the tower finished?"
PASSAGES = [
    "The tower stands in Paris. It was finished in March 1889. Many people visit it.",
    "Bread is baked from flour. It needs salt and water.",
]
BODY = {"query": QUERY, "passages": PASSAGES}


def _config(port: int) -> dict[str, object]:
    """Return what is shipped, with two replicas of a processor each, on a free port of this machine."""
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    config["applications"][0]["args"] |= {"max_body_bytes": 20_000, "max_batch_bytes": 40_000}
    front, replica = config["applications"][0]["deployments"]
    front["num_replicas"] = 1
    del replica["autoscaling_config"]
    replica |= {"num_replicas": 2, "ray_actor_options": {"num_cpus": 1}}
    return config  # type: ignore[no-any-return]


def _replicas() -> list[psutil.Process]:
    title = "ray::ServeReplica:secateur:Replica"
    return [one for one in psutil.process_iter(["cmdline"]) if " ".join(one.info["cmdline"] or ()).startswith(title)]


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=PATIENCE).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    room = tmp_path_factory.mktemp("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (room / "serve.yaml").write_text(yaml.safe_dump(_config(port)))
    log = room / "log"
    with log.open("wb") as output:
        command = [str(Path(sys.executable).with_name("serve")), "run", "serve.yaml"]
        environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(command, cwd=room, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE
        url = f"http://127.0.0.1:{port}"
        while not (len(_replicas()) == 2 and _is_ready(url)):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def test_it_answers_as_the_library_does(url: str) -> None:
    answer = httpx.post(f"{url}/v1/prune", json=BODY, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    expected = Pruner.load(threads=1).prune(QUERY, PASSAGES)
    found = answer.json()["results"]
    assert [(one["index"], one["text"]) for one in found] == [(one.index, one.text) for one in expected.results]
    assert [one["score"] for one in found] == pytest.approx([one.score for one in expected.results], abs=1e-3)
    assert len(answer.headers.get_list("x-request-id")) == 1


def test_refusals_come_through(url: str) -> None:
    wrong = httpx.post(f"{url}/v1/prune", json={"query": 3, "passages": PASSAGES}, timeout=PATIENCE)
    assert wrong.status_code == 422
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.json()["errors"][0]["field"] == "query"
    large = {"query": QUERY, "passages": ["It is long. " * 3000]}
    assert httpx.post(f"{url}/v1/prune", json=large, timeout=PATIENCE).status_code == 413

    def unannounced() -> Iterator[bytes]:
        yield from [b" " * 10_000] * 9

    headers = {"Content-Type": "application/x-ndjson"}
    unsized = httpx.post(f"{url}/v1/prune/batch", content=unannounced(), headers=headers, timeout=PATIENCE)
    assert unsized.status_code == 413, unsized.text


def test_a_batch_is_answered_line_by_line(url: str) -> None:
    lines = "".join(json.dumps(BODY) + "\n" for _ in range(5))
    answer = httpx.post(f"{url}/v1/prune/batch", content=lines, timeout=PATIENCE)
    assert answer.status_code == 200
    assert [json.loads(line)["line"] for line in answer.text.splitlines()] == [1, 2, 3, 4, 5]


def test_no_request_fails_while_a_replica_is_killed(url: str) -> None:
    seen: Counter[str] = Counter()
    stop = threading.Event()
    body = {"query": QUERY, "passages": PASSAGES * 5}

    def client() -> None:
        with httpx.Client(timeout=PATIENCE) as session:
            while not stop.is_set():
                try:
                    seen[str(session.post(f"{url}/v1/prune", json=body).status_code)] += 1
                except httpx.HTTPError as error:
                    seen[repr(error)] += 1

    def until(enough: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while seen["200"] < enough and time.monotonic() < deadline:
            time.sleep(0.05)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(24)
    before = _replicas()
    before[0].kill()
    until(seen["200"] + 100)
    stop.set()
    for thread in threads:
        thread.join()

    assert len(before) == 2
    assert set(seen) == {"200"}, seen
    assert seen["200"] >= 124
    deadline = time.monotonic() + PATIENCE
    while len(_replicas()) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(_replicas()) == 2, "the killed replica was not replaced"


def test_a_setting_that_there_is_not_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match=re.escape("args.timeout: Extra inputs are not permitted (got 3)")):
        build({"timeout": 3})
