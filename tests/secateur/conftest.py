"""A live service for clients and integrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_server import Server, running

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
