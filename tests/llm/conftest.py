"""A server that never knows the answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_server import Loopback, chat_server, completion


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with chat_server(lambda body, number: completion("I do not know", prompt_tokens=5, completion_tokens=4)) as server:
        yield server
