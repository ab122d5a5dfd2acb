"""What `/openapi.json` documents is there, and true."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from secateur.service.schemas import PruneResponse


@pytest.fixture(scope="module")
def openapi(client: httpx.Client) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    content: dict[str, Any] = response.json()
    return content


@pytest.fixture(scope="module")
def operation(openapi: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = openapi["paths"]["/v1/prune"]["post"]
    return found


def resolve(openapi: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """Return the component schema that a request's or response's JSON content refers to."""
    (media_type,) = content.values()
    name = media_type["schema"]["$ref"].removeprefix("#/components/schemas/")
    schema: dict[str, Any] = openapi["components"]["schemas"][name]
    return schema


@pytest.fixture(scope="module")
def example(openapi: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = resolve(openapi, operation["requestBody"]["content"])["examples"][0]
    return found


@pytest.fixture(scope="module")
def answer(client: httpx.Client, example: dict[str, Any]) -> dict[str, Any]:
    response = client.post("/v1/prune", json=example)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def test_the_documented_request_works_as_given(example: dict[str, Any], answer: dict[str, Any]) -> None:
    assert {type(passage) for passage in example["passages"]} == {str, dict}
    assert sorted(item["index"] for item in answer["results"]) == list(range(len(example["passages"])))
    assert answer["warnings"] == []


def test_the_documented_response_is_one_to_the_documented_request(
    openapi: dict[str, Any], operation: dict[str, Any], example: dict[str, Any], answer: dict[str, Any]
) -> None:
    (shown,) = resolve(openapi, operation["responses"]["200"]["content"])["examples"]
    assert set(shown) == set(answer)
    assert shown["model"] == answer["model"]
    usage = {"query_tokens", "input_tokens"}
    assert {key: shown["usage"][key] for key in usage} == {key: answer["usage"][key] for key in usage}
    got = {item["index"]: item for item in answer["results"]}
    for item in shown["results"]:
        for name in ("id", "metadata"):  # FastAPI leaves nulls out of examples
            item.setdefault(name, None)
        passage = example["passages"][item["index"]]
        text = passage if isinstance(passage, str) else passage["text"]
        assert set(item) == set(got[item["index"]])
        assert (item["id"], item["total_units"]) == (got[item["index"]]["id"], got[item["index"]]["total_units"])
        assert item["text"] == " ".join(text[start:end] for start, end in item["spans"])
    PruneResponse.model_validate(shown)


@pytest.mark.parametrize("status", ["400", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"])
def test_problem_responses_are_documented(openapi: dict[str, Any], operation: dict[str, Any], status: str) -> None:
    assert set(operation["responses"][status]["content"]) == {"application/problem+json"}
    problem = resolve(openapi, operation["responses"][status]["content"])
    assert set(problem["required"]) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert set(problem["properties"]) == {*problem["required"], "errors", "other_errors"}


def test_every_request_field_is_described(openapi: dict[str, Any], operation: dict[str, Any]) -> None:
    body = resolve(openapi, operation["requestBody"]["content"])
    assert body["required"] == ["query", "passages"]
    assert [name for name, field in body["properties"].items() if not field.get("description")] == []


def test_the_paths_of_the_native_api_and_health_are_listed(openapi: dict[str, Any]) -> None:
    assert {"/v1/prune", "/health/live", "/health/ready"} <= set(openapi["paths"])


def test_the_docs_page_that_errors_refer_to_exists(client: httpx.Client) -> None:
    response = client.get("/docs")
    assert response.status_code == 200
    assert "swagger-ui" in response.text
