"""Several models in one process, and a cache that they share."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

QUERY = "When was the Eiffel Tower finished?"
TOWER = "The Eiffel Tower stands in Paris. It was finished in March 1889. Millions visit it every year."
BODY = {"query": QUERY, "passages": [TOWER, "Bread needs flour and water."], "return_units": True}


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path_factory.mktemp("redis"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield port, process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def served(
    start_server: Any, uncalibrated_model: Path, redis_port: tuple[int, subprocess.Popen[bytes]]
) -> Iterator[httpx.Client]:
    """A server of two models with a cache in Redis."""
    models = [{"name": "plain"}, {"name": "uncalibrated", "model": str(uncalibrated_model), "threads": 1}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_MODELS", json.dumps(models))
        patch.setenv("SECATEUR_CACHE", f"redis://127.0.0.1:{redis_port[0]}/0")
        with start_server() as server, httpx.Client(base_url=server.url, timeout=300) as client:
            yield client


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next((line for line in lines if line.startswith(name)), f"{name} 0").split()[-1])


@pytest.mark.slow
def test_a_request_gets_the_model_that_it_names(served: httpx.Client) -> None:
    for name in ("plain", "uncalibrated"):
        assert served.post("/v1/prune", json={**BODY, "model": name}).json()["model"] == name
    assert served.post("/v1/prune", json=BODY).json()["model"] == "plain"
    recall = {**BODY, "target_recall": 0.9}
    assert served.post("/v1/prune", json=recall).status_code == 200
    refused = served.post("/v1/prune", json={**recall, "model": "uncalibrated"})
    assert refused.status_code == 422
    assert "has no calibration.json" in refused.json()["detail"]


def test_an_unknown_model_is_told_which_there_are(served: httpx.Client) -> None:
    response = served.post("/v1/prune", json={**BODY, "model": "large"})
    assert response.status_code == 404
    assert response.json()["detail"] == "model: 'large' is not served; use one of plain, uncalibrated"


def test_readiness_lists_models_and_each_has_a_queue(served: httpx.Client) -> None:
    assert served.get("/health/ready").json()["models"] == ["plain", "uncalibrated"]
    for name in ("plain", "uncalibrated"):
        assert metric(served, f'secateur_queue_tokens{{model="{name}"}}') == 0


def test_the_cache_answers_again_and_its_death_fails_nothing(
    served: httpx.Client, redis_port: tuple[int, subprocess.Popen[bytes]]
) -> None:
    body = {**BODY, "query": "What does the cache hold of the Eiffel Tower?"}
    hits = 'secateur_cache_lookups_total{model="plain",result="hit"}'
    before = metric(served, hits)
    first = served.post("/v1/prune", json=body).json()
    again = served.post("/v1/prune", json={**body, "threshold": 0.99}).json()
    assert metric(served, hits) == before + 2
    assert [item["units"] for item in served.post("/v1/prune", json=body).json()["results"]] == [
        item["units"] for item in first["results"]
    ]
    assert [item["score"] for item in again["results"]] == [item["score"] for item in first["results"]]
    redis_port[1].kill()
    redis_port[1].wait()
    started = time.monotonic()
    for _ in range(20):
        answer = served.post("/v1/prune", json=body)
        assert answer.status_code == 200
        assert answer.json()["results"][0]["text"] == first["results"][0]["text"]
    assert time.monotonic() - started < 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SECATEUR_CACHE", "disk", "'disk' is not a cache"),
        ("SECATEUR_MODELS", '[{"name": "a"}, {"name": "a"}]', "two models are named 'a'"),
        ("SECATEUR_MODELS", '[{"name": "a", "model": "/nowhere"}]', "/nowhere"),
        ("SECATEUR_MODELS", '[{"mdoel": "a"}]', "mdoel"),
        ("SECATEUR_MODELS", "[", "models"),
        ("SECATEUR_TIMEOUT_MS", "0", "timeout_ms"),
    ],
)
def test_wrong_settings_are_named_and_end_the_start(
    start_server: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(AssertionError, match="the server ended") as error, start_server():
        pass
    log = str(error.value).lower()
    assert said.lower() in log
    assert "traceback" not in log
