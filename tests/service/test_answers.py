"""JSON that is made in pieces is the JSON that would be made at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.models.merging import PassageScores
from secateur.models.pruner import EncodedRequest, Pruner
from secateur.models.types import PassageResult, PruneResult, Timings, UnitScore, Usage
from secateur.service import schemas
from secateur.service.app import create_app
from secateur.service.schemas import PruneBody, PruneResponse, as_json, prune_json
from secateur.service.settings import Settings

SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@settings(deadline=None, derandomize=True, database=None)
@given(content=JSON)
def test_any_content_comes_back(content: Any) -> None:
    assert as_json(content) == json.dumps(content, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("content", [float("nan"), [float("inf")], {"a": [{"b": -float("inf")}]}])
def test_no_number_that_is_not_json_gets_out(content: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json(content)


@pytest.mark.parametrize("slice_", [1, 2, 3, 1000])
@pytest.mark.parametrize("return_units", [True, False])
def test_a_result_in_slices_is_the_whole(slice_: int, return_units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "_SLICE", slice_)
    body = PruneBody.model_validate({"query": "q\ud800", "passages": ["a"], "return_units": return_units})
    units = tuple(UnitScore(n, n + 1, "sentence", n / 10, n % 2 == 0, None if n % 2 else "score", n) for n in range(7))
    results = tuple(
        PassageResult(
            index=n,
            id="id" if n else None,
            score=0.5,
            text="a\u2028é",
            spans=((0, 1), (3, 4), (6, 7))[:n],
            line_spans=((1, 1), (1, 2), (3, 3))[:n],
            format="markdown",
            kept_units=n,
            total_units=7,
            empty=n == 0,
            metadata={"m": [n]},
            units=units[:n] if return_units else None,
        )
        for n in range(4)
    )
    result = PruneResult(results, 0.25, Usage(1, 2, 3, 0.5), Timings(1.0, 2.0, 3.0, 4.0), ("a warning",))
    text = prune_json("model", body, result, line=3)
    content = json.loads(text)
    assert next(iter(content)) == "line"
    assert content.pop("line") == 3
    read = PruneResponse.model_validate_json(text)
    assert read.model_dump(exclude=None if return_units else {"results": {"__all__": {"units"}}}) == {
        **content,
        "results": [
            item | {name: [tuple(span) for span in item[name]] for name in ("spans", "line_spans")}
            for item in content["results"]
        ],
    }
    assert content["warnings"] == ["body: lone surrogates were replaced by U+FFFD", "a warning"]
    for got, want in zip(content["results"], results, strict=True):
        assert got["spans"] == [list(span) for span in want.spans]
        assert ("units" in got) == return_units
        if return_units:
            assert [unit["score"] for unit in got["units"]] == [unit.score for unit in want.units or ()]


class Faulty(Pruner):
    """Fails, after the network has run, on a query with an exclamation mark: a fault that nobody foresaw."""

    def finish(
        self,
        encoded: EncodedRequest,
        scores: Sequence[PassageScores],
        timings: Timings,
        watch: Callable[[int], None] = lambda units: None,
    ) -> PruneResult:
        if "!" in encoded.checked.request.query:
            raise RuntimeError("an error of the tests' own")
        return super().finish(encoded, scores, timings, watch)


def test_an_unforeseen_error_on_a_line_spoils_no_other(pruner: Pruner) -> None:
    faulty = Faulty(pruner.config, pruner.encoder, pruner.backend, pruner.calibration, pruner.pad_id, pruner.directory)
    lines = [{"query": query, "passages": ["It was finished in 1889."]} for query in ("When?", "When!", "Why?")]

    async def run() -> httpx.Response:
        app = create_app({"faulty": faulty}, Settings())
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=300) as client,
        ):
            content = "\n".join(map(json.dumps, lines))
            return await client.post(
                "/v1/prune/batch", content=content, headers={"Content-Type": "application/x-ndjson"}
            )

    found = [json.loads(line) for line in asyncio.run(run()).text.splitlines()]
    assert [answer["line"] for answer in found] == [1, 2, 3]
    assert [answer.get("error", {}).get("status") for answer in found] == [None, 500, None]
    assert "tests' own" not in found[1]["error"]["detail"]
