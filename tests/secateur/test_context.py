"""`prune_context`: numbered sources, ready for a prompt."""

from __future__ import annotations

import re
from typing import Any

import pytest
from live_server import PATIENCE, Server

from secateur import Client, InputError, Passage, Pruner, prune_context

QUERY = "When was the Eiffel Tower finished?"
TEXTS: list[Any] = [
    "Bread needs flour. It is baked for an hour.",
    {"title": " Eiffel\nTower ", "text": "It stands in Paris. It was finished in March 1889. Many visit it."},
    Passage("The Eiffel Tower was finished in 1889."),
    "",
]


def test_sources_are_numbered_by_their_place(pruner: Pruner) -> None:
    context = prune_context(QUERY, TEXTS, pruner=pruner)
    results = [item for item in pruner.prune(QUERY, TEXTS).results if not item.empty]
    heads = {1: "[2] Eiffel Tower\n", 2: "[3] "}
    assert {1, 2} <= {item.index for item in results}
    assert context == "\n\n".join(heads.get(item.index, f"[{item.index + 1}] ") + item.text for item in results)


@pytest.mark.slow
def test_the_shipped_model_is_the_default_and_a_client_serves_too(
    pruner: Pruner, service: Server, service_key: str
) -> None:
    wanted = prune_context(QUERY, TEXTS, pruner=pruner, top_n=1)
    assert prune_context(QUERY, TEXTS, top_n=1) == wanted
    with Client(service.url, api_key=service_key, timeout_s=PATIENCE) as client:
        assert prune_context(QUERY, TEXTS, pruner=client, top_n=1) == wanted


def test_nothing_gives_nothing(pruner: Pruner) -> None:
    assert prune_context(QUERY, []) == ""
    assert prune_context(QUERY, ["", " "], pruner=pruner) == ""


@pytest.mark.parametrize(("query", "texts", "field"), [("", ["a"], "query"), (QUERY, "text", "passages")])
def test_errors_name_the_field(pruner: Pruner, query: str, texts: Any, field: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(field)}: "):
        prune_context(query, texts, pruner=pruner)
