"""A live service for clients and integrations, and a threshold for the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from command_line import QUERY, TEXTS
from live_server import Server, running

from secateur.models.pruner import Pruner

KEY = "key-0123456789abcdef"


@pytest.fixture(scope="session")
def service_key() -> str:
    """The key that the live service wants."""
    return KEY


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the shipped model that wants a key."""
    folder = tmp_path_factory.mktemp("service")
    keys = folder / "keys"
    keys.write_text(KEY)
    with running(folder / "log", "--api-keys-file", str(keys)) as server:
        yield server


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def threshold(pruner: Pruner) -> float:
    """A threshold that keeps some units of the texts and drops others, whatever the model."""
    result = pruner.prune(QUERY, list(TEXTS.values()), return_units=True)
    scores = sorted(unit.score for passage in result.results for unit in passage.units or ())
    below, above = max(pairwise(scores), key=lambda pair: pair[1] - pair[0])
    return (below + above) / 2
