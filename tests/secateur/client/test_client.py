"""Clients against a live service: they prune as the library does, and fail as it does."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace
from typing import Any

import pytest
from live_server import PATIENCE, Server

from secateur import AsyncClient, Client, InputError, Passage, PruneOptions, Pruner, PruneRequest, ServiceError
from secateur.client import RequestRefusedError, wire
from secateur.models.types import PruneResult

QUERY = "When was the Eiffel Tower finished?"
PASSAGES: list[Any] = [
    "Bread needs flour and water. It is baked for an hour. The oven must be hot.",
    {
        "id": "tower",
        "title": "Eiffel Tower",
        "text": "Eiffel Tower\n\nIt stands in Paris. It was finished in March 1889.  Millions visit it every year.",
        "metadata": {"when": datetime.date(2026, 1, 1)},  # is no JSON, and need not be
    },
    "Der Eiffelturm wurde 1889 fertig. 👩\u200d🍳 エッフェル塔は1889年に完成した。 Он стоит в Париже.",
    "The Louvre is a museum. It opened in 1793.",
    "The Louvre is a museum. It opened in 1793.",
    {
        "text": "# Tower\n\n| part | metres |\n| --- | --- |\n| tip | 330 |\n| first floor | 57 |\n",
        "format": "markdown",
    },
    {"text": "1887 begun\n1889 finished\n1909 saved\n", "format": "lines"},
    {"id": 7, "text": ""},
]


@pytest.fixture(scope="module")
def client(service: Server, service_key: str) -> Any:
    with Client(service.url, api_key=service_key, timeout_s=PATIENCE, service_timeout_s=PATIENCE) as client:
        yield client


def same(found: PruneResult, wanted: PruneResult) -> None:
    """Compare all but times, and scores as batches of another size may move them."""
    assert found.threshold == wanted.threshold
    assert found.usage == wanted.usage
    assert found.warnings == wanted.warnings
    for one, other in zip(found.results, wanted.results, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert replace(one, score=0.0, units=None) == replace(other, score=0.0, units=None)
        assert [replace(unit, score=0.0) for unit in one.units or ()] == [
            replace(unit, score=0.0) for unit in other.units or ()
        ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_units": True, "reorder": False, "joiner": " … "},
        {"top_n": 2, "max_tokens": 20},
        {"target_recall": 0.9, "drop_empty": True, "keep_relevant": False},
        {"min_score": 0.2, "min_units": 1},
        {"always_keep": ["numbers", "re:^It is"], "never_keep": ["Millions"], "return_units": True},
        {"gap_marker": "[… {lines} lines]", "gap_marker_ends": True, "head": 1, "neighbours": 1},
        {"gap_marker": "[{units}]", "joiner": "\n", "threshold": 0.9, "min_units": 2, "return_units": True},
        {"compression": 0.5, "dedupe": True, "return_units": True},
    ],
    ids=str,
)
def test_it_prunes_as_the_library_does(client: Client, pruner: Pruner, options: dict[str, Any]) -> None:
    found, wanted = client.prune(QUERY, PASSAGES, **options), pruner.prune(QUERY, PASSAGES, **options)
    same(found, wanted)
    for item in found.results:
        if item.id == "tower":
            assert item.metadata is PASSAGES[1]["metadata"]


def test_async_prunes_as_the_library_does(service: Server, service_key: str, pruner: Pruner) -> None:
    async def run() -> tuple[Any, ...]:
        async with AsyncClient(service.url, api_key=service_key, timeout_s=PATIENCE) as client:
            request = PruneRequest(QUERY, (Passage("It was finished in 1889. It rained."),))
            return (
                await client.prune(QUERY, PASSAGES),
                await client.prune_many([request, replace(request, query="Did it rain?")]),
                await client.models(),
                await client.health(),
            )

    one, many, models, health = asyncio.run(run())
    same(one, pruner.prune(QUERY, PASSAGES))
    texts = ["It was finished in 1889. It rained."]
    for found, query in zip(many, (QUERY, "Did it rain?"), strict=True):
        same(found, pruner.prune(query, texts))
    assert models == ("secateur-nano-en",)
    assert health.ready and health.model == "secateur-nano-en" and health.models == models


def test_many_requests_keep_their_order(client: Client) -> None:
    requests = [PruneRequest(QUERY, (Passage(f"It was finished in {year}."),)) for year in range(1800, 1830)]
    years = [result.results[0].text for result in client.prune_many(requests)]
    assert years == [f"It was finished in {year}." for year in range(1800, 1830)]
    assert client.prune_many([]) == []


def test_models_and_health(client: Client) -> None:
    assert client.models() == ("secateur-nano-en",)
    assert client.health().ready


@pytest.mark.slow
def test_many_passages_are_sent_in_parts_and_returned_in_order(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PART_PASSAGES", 40)
    texts = [f"Room {number} is free." for number in range(150)]
    texts[121] = "It was finished in March 1889."
    result = client.prune(QUERY, texts, threshold=0.0)
    assert [result.results[0].index, len(result.results)] == [121, 150]
    scores = [(-item.score, item.index) for item in result.results]
    assert scores == sorted(scores)
    assert all(item.text == texts[item.index] for item in result.results)
    assert result.usage.input_tokens == result.usage.output_tokens > 150


def test_what_the_library_refuses_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(InputError, match=r"passages\[1\].text: 3 is not a string"):
        client.prune(QUERY, ["a", {"text": 3}])
    with pytest.raises(InputError, match=r"^requests\[1\].query: is empty"):
        client.prune_many([PruneRequest(QUERY, (Passage("a"),)), PruneRequest(" ", (Passage("a"),))])
    with pytest.raises(InputError, match="passages: is empty"):
        client.prune(QUERY, [])
    with pytest.raises(InputError, match=r"^top_m: unknown option"):
        client.prune(QUERY, ["a"], top_m=3)


def test_what_only_the_service_can_refuse_names_the_field(client: Client) -> None:
    with pytest.raises(RequestRefusedError, match=r"passages: 10001") as info:
        client.prune(QUERY, ["a"] * 10_001, top_n=3)
    assert isinstance(info.value, InputError) and isinstance(info.value, ServiceError)
    assert (info.value.field, info.value.status) == ("passages", 422)
    assert info.value.request_id and info.value.details["instance"] == "/v1/prune"
    with pytest.raises(InputError, match=r"^query: "):
        client.prune("why " * 1_000, ["a"])
    with pytest.raises(InputError, match=r"target_recall: 0\.9999 is above what model"):
        client.prune(QUERY, ["a"], target_recall=0.9999)


def test_a_wrong_key_and_a_wrong_model_say_so_even_with_passthrough(service: Server, service_key: str) -> None:
    with (
        Client(service.url, api_key="wrong", on_error="passthrough") as client,
        pytest.raises(ServiceError, match=r"status 401.*give a valid api_key") as info,
    ):
        client.prune(QUERY, ["a"])
    assert "wrong" not in str(info.value) and info.value.status == 401
    with (
        Client(service.url, api_key=service_key, model="other") as client,
        pytest.raises(ServiceError, match="model: 'other' is not served; use one of secateur-nano-en"),
    ):
        client.prune(QUERY, ["a"])


def test_address_and_key_come_from_the_environment_when_it_is_made(
    service: Server, service_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_URL", service.url)
    monkeypatch.setenv("SECATEUR_API_KEY", service_key)
    with Client() as client:
        monkeypatch.delenv("SECATEUR_API_KEY")
        assert client.models() == ("secateur-nano-en",)
        assert service_key not in repr(client) + repr(client.settings)


def test_lone_surrogates_are_told(client: Client) -> None:
    result = client.prune(QUERY, ["It was \ud800 finished in 1889."])
    assert result.warnings == ("passages[0]: lone surrogates were replaced by U+FFFD",)


def test_options_of_a_request_travel(client: Client, pruner: Pruner) -> None:
    request = PruneRequest(QUERY, (Passage(PASSAGES[0]), Passage(PASSAGES[3])), PruneOptions(min_units=1))
    same(client.prune_request(request), pruner.prune_request(request))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8080"}, "url: 'localhost:8080' is not an HTTP address"),
        ({"url": "http://ho st"}, "url: 'http://ho st' is not an HTTP address"),
        ({"url": 5}, "url: 5 is not a string"),
        ({"api_key": "a\nb"}, "api_key: has characters that an HTTP header cannot carry"),
        ({"timeout_s": 0}, "timeout_s: 0 is out of range"),
        ({"timeout_s": float("inf")}, "timeout_s: inf is out of range"),
        ({"timeout_s": float("nan")}, "timeout_s: nan is out of range"),
        ({"timeout_s": "5"}, "timeout_s: '5' is not a number"),
        ({"service_timeout_s": float("inf")}, "service_timeout_s: inf is out of range"),
        ({"retries": -1}, "retries: -1 is out of range"),
        ({"on_error": "ignore"}, "on_error: 'ignore' is unknown; use raise or passthrough"),
        ({"max_connections": 0}, "max_connections: 0 is out of range"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as info:
        Client(**settings)
    assert str(info.value).startswith(message)
