"""A real server in a process of its own, and what the service's tests share."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from secateur.models.checkpoint import CALIBRATION, ONNX_FP16, WEIGHTS, resolve
from secateur.models.pruner import Pruner

PATIENCE = 300.0  # seconds; a machine that also trains is slow


@dataclass(frozen=True, slots=True)
class Server:
    """A running `secateur serve`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


StartServer = Callable[..., AbstractContextManager[Server]]


def _until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the base URL once the server says that it is ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        running = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())
        if running and httpx.get(f"{running[1]}/health/ready", timeout=PATIENCE).status_code == 200:
            return running[1]
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{log.read_text()}")


@contextmanager
def _running(log: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "secateur", "serve", "--port", "0", "--device", "cpu", *arguments]
    # Away from the checkout, whose folders are not the package.
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Server(_until_ready(process, log), process, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """Starts a server with further arguments: ``with start_server("--model", ...) as server``."""
    return lambda *arguments: _running(tmp_path_factory.mktemp("server") / "log", *arguments)


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> Iterator[Server]:
    """The server that most tests share, with the shipped model."""
    with start_server() as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def uncalibrated_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped model without its calibration."""
    unwanted = shutil.ignore_patterns(CALIBRATION, WEIGHTS, Path(ONNX_FP16).name)
    return Path(shutil.copytree(resolve(None), tmp_path_factory.mktemp("model") / "uncalibrated", ignore=unwanted))


@dataclass(frozen=True, slots=True)
class Sample:
    """A request, and a threshold that keeps some of its units and drops others, whatever the model."""

    query: str
    passages: list[Any]
    threshold: float


@pytest.fixture(scope="session")
def sample(pruner: Pruner) -> Sample:
    """Strings and objects, related and not."""
    query = "When was the Eiffel Tower finished?"
    passages: list[Any] = [
        "Bread needs flour and water. It is baked for an hour. The oven must be hot.",
        {
            "id": "tower",
            "title": "Eiffel Tower",
            "text": "Eiffel Tower\n\nIt stands in Paris. It was finished in March 1889.  Millions visit it every year.",
            "metadata": {"source": "guide", "page": 3},
        },
        "The Louvre is a museum. It opened in 1793.",
        {"id": 7, "text": ""},
    ]
    result = pruner.prune(query, passages, return_units=True)
    scores = sorted(unit.score for passage in result.results for unit in passage.units or ())
    below, above = max(pairwise(scores), key=lambda pair: pair[1] - pair[0])
    return Sample(query, passages, (below + above) / 2)
