"""Clients of other rerank services, unmodified, against a live server; what they say makes `docs/compatibility.md`.

``SECATEUR_UPDATE_DOCS=1 pytest tests/service/test_clients.py`` rewrites the table there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from client_environments import SCRIPTS, python_of

from secateur.labelled.markdown_blocks import markdown_table, rewrite_block
from secateur.models.pruner import Pruner

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "compatibility.md"
PATIENCE = 900.0

QUERY = "When was the Eiffel Tower finished?"
DOCUMENTS = [
    "Bread needs flour and water. It is baked for an hour.",
    "👩\u200d🍳 The Eiffel Tower stands in Paris. It was finished in March 1889. Millions visit it every year.",
    "The Louvre is a museum. It opened in 1793.",
    "The Eiffel Tower was finished in 1889. Its chief engineer was Koechlin. It rained. Work ended in March 1889.",
    "Whales are mammals that live in the sea.",
]


class Client(NamedTuple):
    """A client, how it is run, and what a user gives it."""

    name: str
    script: str
    url: str
    route: str


CLIENTS = [
    Client("cohere v1", "cohere_sdk", "`Client(base_url=URL)`", "/v1/rerank"),
    Client("cohere v1, async", "cohere_sdk", "`AsyncClient(base_url=URL)`", "/v1/rerank"),
    Client("cohere v2", "cohere_sdk", "`ClientV2(base_url=URL)`, `relevant_spans`", "/v2/rerank"),
    Client("cohere v2, async", "cohere_sdk", "`AsyncClientV2(base_url=URL)`, `relevant_spans`", "/v2/rerank"),
    Client("LangChain CohereRerank", "pipelines", "`base_url=URL`", "/v2/rerank"),
    Client("LangChain InfinityRerank", "pipelines", "`client=infinity_client.Client(base_url=URL)`", "/rerank"),
    Client("LlamaIndex CohereRerank", "pipelines", "`base_url=URL`", "/v2/rerank"),
    Client("LlamaIndex JinaRerank", "pipelines", "`base_url=URL`", "/rerank"),
    Client("LlamaIndex TextEmbeddingInference", "pipelines", "`base_url=URL`", "/rerank"),
    Client("Haystack JinaRanker", "pipelines", "`base_url=URL/v1/rerank`", "/v1/rerank"),
    Client("Haystack CohereRanker", "pipelines", "`api_base_url=URL`", "/v2/rerank"),
    Client("Haystack HuggingFaceTEIRanker", "pipelines", "`url=URL`", "/rerank"),
    Client("LiteLLM cohere", "litellm", "`model=cohere/...`, `api_base=URL`", "/v2/rerank"),
    Client("LiteLLM jina_ai", "litellm", "`model=jina_ai/...`, `api_base=URL`", "/v1/rerank"),
    Client("LiteLLM hosted_vllm", "litellm", "`model=hosted_vllm/...`, `api_base=URL`", "/rerank"),
    Client("LiteLLM infinity", "litellm", "`model=infinity/...`, `api_base=URL/infinity`", "/infinity/rerank"),
    Client("LiteLLM huggingface", "litellm", "`model=huggingface/...`, `api_base=URL`", "/rerank"),
]
HEADER = ("client", "version", "what points it here", "route", "ranks as the library does")

EXTRA_CALLS = Counter({"/v1/rerank": 1})  # beside one call of each client

Outcomes = dict[str, dict[str, Any]]


def answered(url: str) -> Counter[str]:
    """Return how many requests the server has answered by 200, by route."""
    text = httpx.get(f"{url}/metrics", timeout=PATIENCE).text
    found = re.findall(r'^secateur_requests_total\{route="(.*rerank)",status="200"\} ([\d.]+)$', text, re.MULTILINE)
    return Counter({route: int(float(count)) for route, count in found})


@pytest.fixture(scope="module")
def outcomes(server: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcomes]:
    """Runs all scripts at once; what each of their clients says, by script and name."""
    asked = tmp_path_factory.mktemp("clients") / "asked.json"
    asked.write_text(json.dumps({"query": QUERY, "documents": DOCUMENTS}), encoding="utf-8")
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    commands = {
        script: [python_of(script), str(SCRIPTS / f"{script}.py"), server.url, str(asked)]
        for script in dict.fromkeys(client.script for client in CLIENTS)
    }

    def run(command: list[str]) -> Outcomes:
        done = subprocess.run(
            command, cwd=asked.parent, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {line["client"]: line for line in lines}

    before = answered(server.url)
    with ThreadPoolExecutor(len(commands)) as pool:
        found = dict(zip(commands, pool.map(run, commands.values()), strict=True))
    assert answered(server.url) - before == Counter(client.route for client in CLIENTS) + EXTRA_CALLS
    return found


def expected_ranking(pruner: Pruner) -> list[tuple[int, float]]:
    return [(item.index, item.score) for item in pruner.prune(QUERY, DOCUMENTS).results]


def agrees(outcome: dict[str, Any], expected: list[tuple[int, float]]) -> bool:
    """Whether a client got the library's ranking, or the head of it, with the library's scores."""
    found = outcome.get("ranking", [])
    return bool(found) and all(
        index == wanted and abs(score - its_score) < 1e-4
        for (index, score), (wanted, its_score) in zip(found, expected, strict=False)
    )


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_the_client_ranks_as_the_library_does(client: Client, outcomes: dict[str, Outcomes], pruner: Pruner) -> None:
    outcome = outcomes[client.script][client.name]
    assert "error" not in outcome, outcome["error"]
    expected = expected_ranking(pruner)
    assert agrees(outcome, expected)
    assert len(outcome["ranking"]) == (3 if client.name == "cohere v2, async" else len(expected))


def test_cohere_reads_spans(outcomes: dict[str, Outcomes], pruner: Pruner) -> None:
    expected = pruner.prune(QUERY, DOCUMENTS, threshold=0.3)
    for name in ("cohere v2", "cohere v2, async"):
        found = outcomes["cohere_sdk"][name]["spans"]
        assert any(found)
        for spans, item in zip(found, expected.results, strict=False):
            assert {(start, end) for start, end, _ in spans} <= set(item.spans)
            assert len(spans) == min(2, len(item.spans))


def test_the_table_of_clients_is_fresh(outcomes: dict[str, Outcomes], pruner: Pruner) -> None:
    expected = expected_ranking(pruner)
    rows = []
    for client in CLIENTS:
        outcome = outcomes[client.script][client.name]
        passed = "yes" if agrees(outcome, expected) else "no"
        rows.append([client.name, outcome["version"], client.url, f"`{client.route}`", passed])
    table = markdown_table(HEADER, rows)
    if os.environ.get("SECATEUR_UPDATE_DOCS"):
        rewrite_block(DOCUMENT, "clients", table)
    assert table in DOCUMENT.read_text(encoding="utf-8")
