"""The service on a local Ray cluster: real replicas, of which one is killed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from secateur.models.errors import InputError
from secateur.models.pruner import Pruner
from secateur.service.on_ray import build

pytestmark = pytest.mark.e2e

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
    return config


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
        # To end in order takes Ray up to a minute, and is no concern of ours.
        cluster = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for one in cluster:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(PATIENCE)


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
    answer = httpx.post(
        f"{url}/v1/prune/batch", content=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=PATIENCE
    )
    assert answer.status_code == 200
    assert [json.loads(line)["line"] for line in answer.text.splitlines()] == [1, 2, 3, 4, 5]


class _Load:
    """Clients that ask without a pause until they are told to stop, and what they have been answered."""

    def __init__(self, url: str, clients: int = 8) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def _client(self) -> None:
        body = {"query": QUERY, "passages": PASSAGES * 5}
        with httpx.Client(timeout=PATIENCE) as session:
            while not self._stop.is_set():
                try:
                    self.seen[str(session.post(f"{self._url}/v1/prune", json=body).status_code)] += 1
                except httpx.HTTPError as error:
                    self.seen[repr(error)] += 1

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_answered(self, more: int) -> None:
        """Wait for that many more answers."""
        enough = self.seen["200"] + more
        _until(lambda: self.seen["200"] >= enough)


def _until(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_no_request_fails_while_a_replica_is_killed(url: str) -> None:
    with _Load(url) as load:
        load.until_answered(24)
        before = _replicas()
        before[0].kill()
        load.until_answered(100)

    assert len(before) == 2
    assert set(load.seen) == {"200"}, load.seen
    assert load.seen["200"] >= 124
    assert _until(lambda: len(_replicas()) == 2), "the killed replica was not replaced"


def test_no_request_fails_while_replicas_are_replaced_by_a_new_deployment(url: str, tmp_path: Path) -> None:
    config = _config(httpx.URL(url).port or 0)
    config["applications"][0]["args"]["max_body_bytes"] = 40_000  # type: ignore[index]
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
    large = {"query": QUERY, "passages": ["It is long. " * 2500]}
    assert httpx.post(f"{url}/v1/prune", json=large, timeout=PATIENCE).status_code == 413
    old = {one.pid for one in _replicas()}
    with _Load(url) as load:
        load.until_answered(24)
        command = [str(Path(sys.executable).with_name("serve")), "deploy", str(tmp_path / "serve.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        replaced = _until(lambda: len(now := {one.pid for one in _replicas()}) == 2 and not now & old)
        load.until_answered(24)

    assert replaced, "the old replicas are still there"
    assert set(load.seen) == {"200"}, load.seen
    assert httpx.post(f"{url}/v1/prune", json=large, timeout=PATIENCE).status_code == 200


def test_a_setting_that_there_is_not_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError) as caught:
        build({"timeout": 3})
    assert (caught.value.field, caught.value.problem) == ("args.timeout", "3 is invalid")
