"""What the service's tests share: a real server, its client, and requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import PATIENCE, Server, StartServer, running

from secateur.models.checkpoint import CALIBRATION, ONNX_FP16, WEIGHTS, resolve
from secateur.models.pruner import Pruner
from secateur.models.sums import SUMS, write_sums


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """Starts a server with further arguments: ``with start_server("--model", ...) as server``."""
    return lambda *arguments: running(tmp_path_factory.mktemp("server") / "log", *arguments)


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
    unwanted = shutil.ignore_patterns(CALIBRATION, WEIGHTS, Path(ONNX_FP16).name, SUMS)
    model = Path(shutil.copytree(resolve(None), tmp_path_factory.mktemp("model") / "uncalibrated", ignore=unwanted))
    write_sums(model)
    return model


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
