"""Requests in parts: nothing is lost, doubled or put into another order."""

from __future__ import annotations

import json

from secateur.client.answers import Answers
from secateur.client.wire import PART_CHARACTERS, PART_PASSAGES, Part, body, join, split
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PruneRequest, PruneResult


def answer(part: Part, scores: list[float]) -> bytes:
    """Return what a service says that keeps everything, by falling score."""
    items = [
        {
            "index": index,
            "id": None,
            "score": scores[part.offset + index],
            "text": passage.text,
            "spans": [[0, len(passage.text)]],
            "line_spans": [[1, 1]],
            "format": "text",
            "kept_units": 1,
            "total_units": 1,
            "empty": False,
            "metadata": None,
        }
        for index, passage in enumerate(part.passages)
    ]
    items.sort(key=lambda item: (-float(str(item["score"])), item["index"]))
    tokens = len(part.passages)
    return json.dumps(
        {
            "results": items,
            "threshold": 0.1,
            "usage": {"query_tokens": 3, "input_tokens": 2 * tokens, "output_tokens": tokens, "compression": 0.5},
            "timings": {"queue_ms": 1, "tokenize_ms": 1, "inference_ms": 1, "total_ms": 3},
            "warnings": ["passages[1].title: cut to fit the window"],
        }
    ).encode()


def through_parts(request: PruneRequest, scores: list[float]) -> PruneResult:
    return join(
        [Answers().result(answer(part, scores), request, part) for part in split(request)], request, ["query: cut"]
    )


def test_five_thousand_passages_in_five_parts() -> None:
    passages = tuple(Passage(f"Room {number % 7}.", id=number) for number in range(5_000))
    request = PruneRequest("q", passages)
    parts = split(request)
    assert [(part.offset, len(part.passages)) for part in parts] == [(n * 1_000, PART_PASSAGES) for n in range(5)]
    scores = [(number * 37 % 101) / 101 for number in range(5_000)]  # with many ties
    result = through_parts(request, scores)
    order = sorted(range(5_000), key=lambda index: (-scores[index], index))
    assert [item.index for item in result.results] == [item.id for item in result.results] == order
    assert all(item.text == passages[item.index].text for item in result.results)
    assert result.usage.input_tokens == 10_000 and result.usage.compression == 0.5
    assert result.warnings[:3] == (
        "query: cut",
        "passages[1].title: cut to fit the window",
        "passages[1001].title: cut to fit the window",
    )


def test_the_callers_order_is_kept_when_asked() -> None:
    passages = tuple(Passage("a") for _ in range(PART_PASSAGES + 1))
    request = PruneRequest("q", passages, PruneOptions(reorder=False))
    parts = split(request)
    assert [len(part.passages) for part in parts] == [PART_PASSAGES, 1]
    results = []
    for part in parts:
        content = json.loads(answer(part, [0.5] * len(passages)))
        results.append(Answers().result(json.dumps(content).encode(), request, part))
    assert [item.index for item in join(results, request, ()).results] == list(range(len(passages)))


def test_long_passages_go_in_parts_and_one_that_is_too_long_goes_alone() -> None:
    lengths = [PART_CHARACTERS * 2, 10, PART_CHARACTERS - 20, 11, 5]
    parts = split(PruneRequest("q", tuple(Passage("x" * length) for length in lengths)))
    assert [[len(passage.text) for passage in part.passages] for part in parts] == [
        [lengths[0]],
        [10, lengths[2]],
        [11, 5],
    ]
    assert [part.offset for part in parts] == [0, 1, 3]


def test_what_compares_all_passages_is_not_cut() -> None:
    passages = tuple(Passage("a") for _ in range(3_000))
    for options in (
        PruneOptions(top_n=1),
        PruneOptions(max_tokens=9),
        PruneOptions(compression=0.5),
        PruneOptions(dedupe=True),
    ):
        assert len(split(PruneRequest("q", passages, options))) == 1


def test_a_body_holds_what_differs_from_the_defaults() -> None:
    options = PruneOptions(threshold=0.5, reorder=False, always_keep=("errors", "re:^a"), gap_marker="…")
    passages = (Passage("a", id=1, metadata={"x": object()}), Passage("b", title="T"), Passage("c", format="text"))
    request = PruneRequest("q", passages, options)
    (part,) = split(request)
    assert json.loads(body(request, part, "m")) == {
        "query": "q",
        "passages": ["a", {"text": "b", "format": "auto", "title": "T"}, {"text": "c", "format": "text"}],
        "threshold": 0.5,
        "always_keep": ["errors", "re:^a"],
        "reorder": False,
        "gap_marker": "…",
        "model": "m",
    }


def test_an_error_names_the_passage_in_the_callers_list() -> None:
    problem = {
        "status": 422,
        "detail": "passages[3].text: is long; cut it",
        "errors": [{"field": "passages[3].text", "problem": "is long", "hint": "cut it"}],
    }
    error = Answers().error(422, json.dumps(problem).encode(), offset=2_000)
    assert isinstance(error, InputError)
    assert str(error) == "passages[2003].text: is long; cut it"
