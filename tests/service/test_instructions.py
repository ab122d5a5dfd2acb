"""The `instruction` of the rerank dialects: put before the query if the model was trained so, else warned about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from secateur.models.pruner import Pruner
from secateur.service.app import create_app
from secateur.service.settings import Settings

QUERY = "When was the tower finished?"
INSTRUCTION = "Rank guides to Paris first."
TEXTS = ["The tower was finished in March 1889. It is of iron.", "Guides to Paris name the Louvre. It opened in 1793."]
PATHS = ["/v2/rerank", "/v1/rerank", "/rerank", "/infinity/rerank"]
WARNING = "instruction: not applied; model 'secateur-nano-en' was not trained with instructions"
HEADER = "x-secateur-warnings"


@pytest.fixture(scope="module")
def instructed(pruner: Pruner) -> Iterator[TestClient]:
    """A service whose model counts as trained with instructions."""
    config = replace(pruner.config, instruction=True)
    model = Pruner(config, pruner.encoder, pruner.backend, pruner.calibration, pruner.pad_id, pruner.directory)
    with TestClient(create_app({config.name: model}, Settings()), client=("127.0.0.1", 9)) as client:
        yield client


def ranked(client: Any, path: str, **body: Any) -> tuple[dict[int, float], httpx.Response]:
    """Return the score of each text by its index, and the response."""
    response = client.post(path, json={"query": QUERY, **body})
    assert response.status_code == 200, response.text
    content = response.json()
    results = content if isinstance(content, list) else content["results"]
    return {item["index"]: item.get("score", item.get("relevance_score")) for item in results}, response


@pytest.mark.parametrize("name", ["documents", "texts"])
@pytest.mark.parametrize("path", PATHS)
def test_it_is_put_before_the_query(instructed: TestClient, pruner: Pruner, path: str, name: str) -> None:
    scores, response = ranked(instructed, path, instruction=INSTRUCTION, **{name: TEXTS})
    wanted = {item.index: item.score for item in pruner.prune(f"{INSTRUCTION}\n{QUERY}", TEXTS).results}
    assert scores == pytest.approx(wanted, abs=1e-4)
    assert HEADER not in response.headers
    plain = {item.index: item.score for item in pruner.prune(QUERY, TEXTS).results}
    for none in (None, "", " \n"):
        assert ranked(instructed, path, instruction=none, **{name: TEXTS})[0] == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_a_query_is_needed_beside_it(instructed: TestClient, path: str) -> None:
    response = instructed.post(path, json={"query": " ", "instruction": INSTRUCTION, "documents": TEXTS})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("query: is empty")


@pytest.mark.parametrize("name", ["documents", "texts"])
@pytest.mark.parametrize("path", PATHS)
def test_it_is_warned_about_if_the_model_knows_none(client: httpx.Client, pruner: Pruner, path: str, name: str) -> None:
    assert not pruner.config.instruction
    scores, response = ranked(client, path, instruction=INSTRUCTION, **{name: TEXTS})
    plain = {item.index: item.score for item in pruner.prune(QUERY, TEXTS).results}
    assert scores == pytest.approx(plain, abs=1e-4)
    assert response.headers[HEADER] == WARNING
    if name == "documents" and path in ("/v1/rerank", "/v2/rerank"):
        assert response.json()["meta"]["warnings"] == [WARNING]
    for none in (None, "", " "):
        assert HEADER not in ranked(client, path, instruction=none, **{name: TEXTS})[1].headers


def test_an_instruction_is_text(client: httpx.Client) -> None:
    response = client.post("/rerank", json={"query": QUERY, "documents": TEXTS, "instruction": 3})
    assert [error["field"] for error in response.json()["errors"]] == ["instruction"]


def test_warnings_name_the_texts_as_the_dialect_does(client: httpx.Client) -> None:
    emoji = "\U0001f600 \U0001f5fc"
    for path, name in (("/v2/rerank", "documents"), ("/rerank", "documents"), ("/rerank", "texts")):
        _, response = ranked(client, path, **{name: [*TEXTS, emoji]})
        assert response.headers[HEADER] == f"{name}[2]: the model cannot read 100% of the text"


def test_the_header_has_a_bounded_length(client: httpx.Client) -> None:
    _, response = ranked(client, "/rerank", documents=["\U0001f600"] * 30, instruction=INSTRUCTION)
    told = response.headers[HEADER].split(" | ")
    assert (len(told), told[0], told[-1]) == (
        11,
        "documents[0]: the model cannot read 100% of the text",
        "and 21 more",
    )


def test_what_tei_ignores_is_told(client: httpx.Client) -> None:
    _, response = ranked(client, "/rerank", texts=TEXTS, truncation_direction="left")
    assert response.headers[HEADER] == "truncation_direction: not applied; texts are read completely and in order"
