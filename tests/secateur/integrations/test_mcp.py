"""The MCP server, asked by the official SDK's client over stdio and streamable HTTP, here and on a live service."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_server import PATIENCE, Server
from mcp import Client, StdioServerParameters

from secateur import Pruner
from secateur.context import format_context
from secateur.integrations.mcp import make_server
from secateur.integrations.settings import PruneSettings

QUERY = "When was the Eiffel Tower finished?"
TEXTS = [
    "Bread needs flour. It is baked for an hour.",
    "It stands in Paris. It was finished in March 1889.  Millions visit it every year.",
    "",
]


async def call(server: Any, **arguments: Any) -> Any:
    async with Client(server, read_timeout_seconds=PATIENCE) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "prune" and {"query", "texts"} == set(tool.input_schema["required"])
        return await client.call_tool("prune", {"query": QUERY, "texts": TEXTS, **arguments})


def check(outcome: Any, pruner: Pruner, **options: Any) -> None:
    wanted = pruner.prune(QUERY, TEXTS, **options)
    assert not outcome.is_error
    found = outcome.structured_content
    assert found["context"] == format_context(wanted, [None] * 3)
    assert found["context"].startswith("[2] ") and "March 1889" in found["context"]
    for item, other in zip(found["texts"], wanted.results, strict=True):
        assert (item["source"], item["text"], item["format"]) == (other.index + 1, other.text, other.format)
        assert item["line_spans"] == [list(span) for span in other.line_spans]
        assert item["score"] == pytest.approx(other.score, abs=1e-4)
    assert found["output_tokens"] == wanted.usage.output_tokens


@pytest.mark.slow
def test_over_stdio(pruner: Pruner, tmp_path: Path) -> None:
    server = StdioServerParameters(command=sys.executable, args=["-m", "secateur", "mcp"], cwd=str(tmp_path))
    check(asyncio.run(call(server, max_tokens=12)), pruner, max_tokens=12)


@pytest.fixture
def http_url(tmp_path: Path, service: Server, service_key: str) -> Iterator[str]:
    """The address of `secateur mcp --http`, which prunes on the live service."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "secateur", "mcp", "--http", "--port", "0", "--url", service.url]
    environment = {**os.environ, "SECATEUR_API_KEY": service_key}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (running := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"{running[0]}/mcp"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.slow
def test_over_http_on_a_live_service(http_url: str, pruner: Pruner) -> None:
    check(asyncio.run(call(http_url)), pruner)
    error = asyncio.run(call(http_url, query=" "))
    assert error.is_error and "query: is empty; give the user's question" in error.content[0].text


def test_errors_reach_the_model_as_text() -> None:
    server = make_server(PruneSettings(url="http://127.0.0.1:9", timeout_s=0.3))
    outcome = asyncio.run(call(server))
    assert outcome.is_error and "cannot be reached" in outcome.content[0].text
    outcome = asyncio.run(call(server, top_n=0))
    assert outcome.is_error and "top_n: 0 is out of range" in outcome.content[0].text
