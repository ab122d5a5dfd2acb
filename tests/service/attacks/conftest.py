"""The server that the attacks share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from live_server import Server
from siege import send


@pytest.fixture(scope="session")
def target(start_server: Any) -> Iterator[Server]:
    """A server with its default limits, warm: the runtime keeps memory for each length of window that it has seen."""
    text = "It was finished in March 1889, after two years, two months and five days. "
    warming = {"query": "When?", "passages": [text * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)] * 4}
    with start_server() as server:
        assert send(server, "/v1/prune", json.dumps(warming).encode()) == 200
        yield server
