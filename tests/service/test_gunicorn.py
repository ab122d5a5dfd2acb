"""Gunicorn itself, with models that are loaded and used before it forks its workers (`--preload`)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from live_server import PATIENCE

pytestmark = pytest.mark.e2e

WSGI = """
import json
from secateur import Pruner

pruner = Pruner.load(device="cpu")
EXPECTED = pruner.prune("Who built it?", ["It rained. Eiffel built it."]).results[0].text

def app(environ, start_response):
    found = pruner.prune("Who built it?", ["It rained. Eiffel built it."]).results[0].text
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"text": found, "expected": EXPECTED}).encode()]
"""

ASGI = """
from secateur.service.app import create_app
from secateur.service.engines import load_pruners
from secateur.service.settings import Settings

settings = Settings(device="cpu")
app = create_app(load_pruners(settings), settings)
"""


@contextmanager
def gunicorn(folder: Path, program: str, *arguments: str) -> Iterator[str]:
    """Run a program's `app` on two workers, forked after it was imported; give the address."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    log = folder / "log"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--timeout", "120", "--no-control-socket", *arguments, "program:app"],
            cwd=folder,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "true"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while (address := re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield address[1]
        process.terminate()
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert not re.search(r"SIGKILL|SIGSEGV|SIGABRT|WORKER TIMEOUT|Traceback", log.read_text()), log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_workers_prune_with_a_model_that_was_used_before_the_fork(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WSGI) as url, httpx.Client(timeout=PATIENCE) as http:
        for _ in range(4):
            answer = http.get(url).json()
            assert answer["text"] == answer["expected"]


def test_the_service_runs_on_preloaded_models(tmp_path: Path) -> None:
    headers = {"X-Request-Timeout-Ms": "200000"}  # a worker's first request loads the model
    with gunicorn(tmp_path, ASGI, "--worker-class", "asgi") as url, httpx.Client(timeout=PATIENCE) as http:
        body = {"query": "Who built it?", "passages": ["It rained. Eiffel built it."]}
        for _ in range(4):
            answer = http.post(f"{url}/v1/prune", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["results"]) == 1
