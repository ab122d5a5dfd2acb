"""The Cohere SDK, of this very environment. Arguments: the server's URL and a JSON file of a query and documents."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cohere

URL, ASKED = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
QUERY, DOCUMENTS = ASKED["query"], ASKED["documents"]
SPANS: Any = {"mode": "enabled", "threshold": 0.3, "max_spans": 2}


def ranking(response: Any) -> list[list[float]]:
    """Return index and score of each result."""
    return [[item.index, item.relevance_score] for item in response.results]


def spans(response: Any) -> list[list[list[float]]]:
    """Return the spans of each result."""
    return [[[span.start, span.end, span.score] for span in item.relevant_spans or ()] for item in response.results]


def v1() -> dict[str, Any]:
    """Version 1, with documents returned."""
    client = cohere.Client(api_key="key", base_url=URL)
    response = client.rerank(query=QUERY, documents=DOCUMENTS, model="rerank-v3.5", return_documents=True)
    for item in response.results:
        assert item.document is not None
        assert item.document.text == DOCUMENTS[item.index]
    tokens = response.meta and response.meta.tokens
    assert tokens and tokens.input_tokens and tokens.input_tokens > 0
    objects = client.rerank(
        query=QUERY, documents=[{"text": text} for text in DOCUMENTS], top_n=2, rank_fields=["text"]
    )
    assert ranking(objects) == ranking(response)[:2]
    return {"ranking": ranking(response)}


def v1_async() -> dict[str, Any]:
    """Version 1, asynchronous."""
    client = cohere.AsyncClient(api_key="key", base_url=URL)
    return {"ranking": ranking(asyncio.run(client.rerank(query=QUERY, documents=DOCUMENTS, model="rerank-v3.5")))}


def v2() -> dict[str, Any]:
    """Version 2, with relevant spans."""
    client = cohere.ClientV2(api_key="key", base_url=URL)
    response: Any = client.rerank(model="rerank-v5.0-pro", query=QUERY, documents=DOCUMENTS, relevant_spans=SPANS)
    assert all(isinstance(item.pruned_text, str) for item in response.results)
    try:
        client.rerank(model="rerank-v5.0-pro", query="", documents=DOCUMENTS)
    except cohere.UnprocessableEntityError as error:
        assert "query: is empty" in error.body["message"], error.body
    else:
        raise AssertionError("an empty query is no error")
    return {"ranking": ranking(response), "spans": spans(response)}


def v2_async() -> dict[str, Any]:
    """Version 2, asynchronous, with relevant spans."""
    client = cohere.AsyncClientV2(api_key="key", base_url=URL)
    asked = client.rerank(model="rerank-v5.0-pro", query=QUERY, documents=DOCUMENTS, top_n=3, relevant_spans=SPANS)
    response = asyncio.run(asked)
    return {"ranking": ranking(response), "spans": spans(response)}


if __name__ == "__main__":
    for name, call in {"v1": v1, "v1, async": v1_async, "v2": v2, "v2, async": v2_async}.items():
        print(json.dumps({"client": f"cohere {name}", "version": version("cohere"), **call()}))  # noqa: T201
