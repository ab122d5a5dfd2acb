"""`POST /v1/prune` on a real server: the design's response, the library's answers, and no blocked event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from secateur.models.options import option_table
from secateur.models.pruner import Pruner
from secateur.models.types import PruneResult
from secateur.service.schemas import PruneResponse

PATIENCE = 300.0
RESPONSE = {"id", "model", "results", "threshold", "usage", "timings", "warnings"}
RESULT = {"index", "id", "score", "text", "spans", "line_spans", "format", "kept_units", "total_units", "empty"}
RESULT |= {"metadata"}
UNIT = {"start", "end", "kind", "score", "kept", "reason", "tokens"}
USAGE = {"query_tokens", "input_tokens", "output_tokens", "compression"}
TIMINGS = {"queue_ms", "tokenize_ms", "inference_ms", "total_ms"}
LONG_PASSAGE = "The tower stands in Paris. It was finished in March 1889, after two years of work. " * 300


def prune(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/prune", json=body)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def assert_equal(content: dict[str, Any], expected: PruneResult) -> None:
    """Check results against the library's; scores of one passage may differ by 1e-4 between runs."""
    assert [item["index"] for item in content["results"]] == [item.index for item in expected.results]
    for got, want in zip(content["results"], expected.results, strict=True):
        assert got["score"] == pytest.approx(want.score, abs=1e-4)
        for name in RESULT - {"score", "spans", "line_spans"}:
            assert got[name] == getattr(want, name), name
        for name in ("spans", "line_spans"):
            assert got[name] == [list(span) for span in getattr(want, name)], name
        assert [{**unit, "score": None} for unit in got.get("units", [])] == [
            {name: getattr(unit, name) for name in UNIT} | {"score": None} for unit in want.units or ()
        ]
        scores = [unit.score for unit in want.units or ()]
        assert [unit["score"] for unit in got.get("units", [])] == pytest.approx(scores, abs=1e-4)
    assert content["usage"] == {name: getattr(expected.usage, name) for name in USAGE}
    assert content["threshold"] == expected.threshold
    assert content["warnings"] == list(expected.warnings)


def assert_exact_fields(content: dict[str, Any], *, units: bool) -> None:
    assert set(content) == RESPONSE
    assert set(content["usage"]) == USAGE
    assert set(content["timings"]) == TIMINGS
    for item in content["results"]:
        assert set(item) == (RESULT | {"units"} if units else RESULT)
        for unit in item.get("units", []):
            assert set(unit) == UNIT


@pytest.mark.parametrize("units", [False, True])
def test_the_response_has_the_designs_fields_and_no_other(client: httpx.Client, sample: Any, units: bool) -> None:
    response = client.post(
        "/v1/prune", json={"query": sample.query, "passages": sample.passages, "return_units": units}
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    PruneResponse.model_validate_json(response.content, strict=True)
    assert_exact_fields(response.json(), units=units)


def test_the_model_is_named_and_ids_differ(client: httpx.Client, pruner: Pruner) -> None:
    first, second = (prune(client, query="q", passages=["a"]) for _ in range(2))
    assert first["model"] == pruner.config.name
    assert first["id"] != second["id"]


def test_the_served_model_can_be_asked_for_by_name(client: httpx.Client, pruner: Pruner) -> None:
    assert prune(client, query="q", passages=["a"], model=pruner.config.name)["model"] == pruner.config.name


def test_the_shipped_model_takes_a_target_recall_and_a_higher_one_keeps_more(
    client: httpx.Client, sample: Any, pruner: Pruner
) -> None:
    assert pruner.calibration is not None
    thresholds = pruner.calibration.thresholds
    for recall in (0.8, 0.9, 0.95):
        body = {"query": sample.query, "passages": sample.passages, "return_units": True, "target_recall": recall}
        for result in prune(client, **body)["results"]:
            wanted = [unit["score"] >= thresholds[recall] for unit in result["units"]]
            kept = [unit["kept"] for unit in result["units"]]
            assert kept[1:] == wanted[1:]  # a heading is kept with whatever it heads
    assert list(thresholds.values()) == sorted(thresholds.values(), reverse=True)


@pytest.mark.parametrize(
    "options",
    [
        {"return_units": True},
        {"reorder": False, "joiner": " […] "},
        {"keep_relevant": False, "drop_empty": True},
        {"threshold": 0.0, "max_tokens": 20},
        {"threshold": 0.0, "top_n": 2},
        {"threshold": 1.0, "min_units": 1, "return_units": True},
        {"min_score": 1.0},
        {"always_keep": ["numbers", "re:(?i)^bread"], "never_keep": ["Millions"], "return_units": True},
        {"head": 1, "tail": 1, "neighbours": 1, "return_units": True},
        {"compression": 0.5, "dedupe": True, "return_units": True},
        {"gap_marker": "[… {units} units, {characters} characters]", "gap_marker_ends": True},
    ],
    ids=lambda options: ",".join(options),
)
def test_a_response_equals_the_librarys_result(
    client: httpx.Client, pruner: Pruner, sample: Any, options: dict[str, Any]
) -> None:
    options = {"threshold": sample.threshold, **options}
    expected = pruner.prune(sample.query, sample.passages, **options)
    content = prune(client, query=sample.query, passages=sample.passages, **options)
    assert_equal(content, expected)


def test_the_sample_has_kept_and_dropped_units(client: httpx.Client, sample: Any) -> None:
    content = prune(client, query=sample.query, passages=sample.passages, threshold=sample.threshold)
    kept = sum(item["kept_units"] for item in content["results"])
    assert 0 < kept < sum(item["total_units"] for item in content["results"])


def test_an_over_long_query_is_cut_when_asked_to(client: httpx.Client, pruner: Pruner) -> None:
    query = "when was it finished " * 300
    content = prune(client, query=query, passages=["It was finished."], truncate_query=True)
    assert_equal(content, pruner.prune(query, ["It was finished."], truncate_query=True))
    assert any("cut" in warning for warning in content["warnings"])


def test_null_means_unset(client: httpx.Client, sample: Any) -> None:
    passages = [
        {"text": p, "id": None, "title": None, "format": None, "metadata": None} if isinstance(p, str) else p
        for p in sample.passages
    ]
    bare = prune(client, query=sample.query, passages=sample.passages)
    nulls = prune(client, query=sample.query, passages=passages, **dict.fromkeys([*option_table(), "model"]))
    assert nulls["results"] == bare["results"]
    assert nulls["usage"] == bare["usage"]


def test_unknown_fields_are_ignored(client: httpx.Client) -> None:
    content = prune(
        client, query="q", passages=[{"text": "a b.", "rank": 3, "units": []}], surprise={"a": [1]}, return_documents=1
    )
    assert_exact_fields(content, units=False)
    assert content["results"][0]["total_units"] == 1


@pytest.mark.parametrize("id", ["a", "", "7", 7, 0, -1, 10**30, "🦀", " a\n", None], ids=repr)
def test_an_id_comes_back_unchanged(client: httpx.Client, id: str | int | None) -> None:
    (result,) = prune(client, query="q", passages=[{"text": "a b.", "id": id}])["results"]
    assert result["id"] == id
    assert type(result["id"]) is type(id)


def test_metadata_comes_back_unchanged(client: httpx.Client) -> None:
    metadata = {"é": [1, 1.5, -0.0, True, None, "a\u2028b"], "deep": {"": {"units": []}}, "n": 10**30, "f": 1e300}
    (result,) = prune(client, query="q", passages=[{"text": "a b.", "metadata": metadata}])["results"]
    assert result["metadata"] == metadata
    assert list(result["metadata"]) == list(metadata)


def test_a_passages_place_and_company_change_nothing(client: httpx.Client, sample: Any) -> None:
    passages = [*sample.passages, {"id": "x", "text": sample.passages[0]}]
    content = prune(client, query=sample.query, passages=passages, reorder=False, return_units=True)
    first, last = content["results"][0], content["results"][-1]
    assert (first["index"], first["id"], last["index"], last["id"]) == (0, None, 4, "x")
    assert last["text"] == first["text"]
    assert last["score"] == pytest.approx(first["score"], abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "🗼🇫🇷 was finished in 1889. 👩‍👩‍👧 visit it 🙂. It is high.",
        "Cafe\u0301 opens. Zu\u0308rich e\u0301 grows. A\u030a end.",
        "המגדל הושלם. הוא בפריז. זה גבוה.",
        "اكتمل البرج عام 1889. يقع في باريس.",
        "塔は1889年に完成した。パリにある。高い塔だ。",
        "𝒯he 𝓉ower 𝒾s high. 𐍈 was here.",
        "\ufeff \u00a0Paris is big.\u2003\r\n\r\n- one\n- two\u2028 ",
    ],
    ids=["emoji", "combining", "hebrew", "arabic", "japanese", "astral", "white space"],
)
def test_offsets_are_code_points(client: httpx.Client, text: str) -> None:
    (result,) = prune(client, query="tower", passages=[text], threshold=0.0, return_units=True)["results"]
    bounds = [0, *(unit["end"] for unit in result["units"])]
    assert [unit["start"] for unit in result["units"]] == bounds[:-1]
    assert bounds[-1] == len(text)
    assert result["spans"] == [[len(text) - len(text.lstrip()), len(text.rstrip())]]
    assert result["text"] == text.strip()


def test_a_kept_units_span_is_its_own_without_outer_white_space(client: httpx.Client) -> None:
    text = "🗼 is high.  👩‍👩‍👧 visit it.\u2003It was finished in 1889 🙂. The é is e\u0301. 𐍈 ends."
    content = prune(client, query="When?", passages=[text], threshold=1.0, min_units=1, return_units=True)
    (result,) = content["results"]
    (kept,) = [unit for unit in result["units"] if unit["kept"]]
    body = text[kept["start"] : kept["end"]]
    assert result["text"] == body.strip()
    assert result["spans"] == [[kept["start"], kept["start"] + len(body.rstrip())]]


def test_sixteen_at_once_get_each_its_own_answer(server: Any, pruner: Pruner) -> None:
    bodies: list[dict[str, Any]] = [
        {
            "query": f"How high is tower {i}?",
            "passages": [
                {"id": i, "text": f"Tower {i} is {i * 10} metres high. It is painted.\n\n" * (1 + i % 4)},
                "No.",
            ],
            "threshold": 0.0,
            "reorder": False,
            "return_units": True,
        }
        for i in range(16)
    ]

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            return await asyncio.gather(*(client.post("/v1/prune", json=body) for body in bodies))

    responses = asyncio.run(post_all())
    assert [response.status_code for response in responses] == [200] * 16
    for body, response in zip(bodies, responses, strict=True):
        assert_equal(response.json(), pruner.prune(**body))
    assert len({response.json()["id"] for response in responses}) == 16


@pytest.mark.slow
def test_liveness_answers_while_a_large_request_runs(client: httpx.Client) -> None:
    """By order, not by a clock: several answers come before the large one."""
    before = 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(prune, client, query="When was it finished?", passages=[LONG_PASSAGE * 2])
        while not running.done():
            assert client.get("/health/live").json() == {"status": "live"}
            before += not running.done()
        running.result()
    assert before >= 3, "inference must not block the event loop"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_sigterm_finishes_what_runs_and_exits_with_0(start_server: Any) -> None:
    sent = threading.Event()

    def trace(event: str, _: dict[str, Any]) -> None:
        if event == "http11.send_request_body.complete":
            sent.set()

    with start_server() as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        with ThreadPoolExecutor(1) as pool:
            body = {"query": "When was it finished?", "passages": [LONG_PASSAGE], "threshold": 0.0}
            running = pool.submit(client.post, "/v1/prune", json=body, extensions={"trace": trace})
            assert sent.wait(PATIENCE)
            assert client.get("/health/live").status_code == 200  # so the request before it has been read, too
            assert not running.done()
            server.process.send_signal(signal.SIGTERM)
            response = running.result()
        assert response.status_code == 200
        assert response.json()["results"][0]["text"] == LONG_PASSAGE.strip()
        assert server.process.wait(PATIENCE) == 0
        assert "Application shutdown complete" in server.log.read_text()
