"""The pruner from the caller's side: what comes back, for any text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_spans import join_spans
from tokenizers import Tokenizer

from secateur.models.checkpoint import CALIBRATION
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest, PruneResult, Timings

Staged = Callable[[Mapping[str, float]], Pruner]

QUERY = "Who built the Eiffel Tower?"
TOWER = "The Eiffel Tower stands in Paris. It was built by Gustave Eiffel's company. Tickets are sold online."
MOON = "Apollo 11 landed on the Moon in 1969.\n\n- Armstrong stepped out first.\n- Collins stayed in orbit."
STAGES = {"yes": 0.9, "maybe": 0.5, "perhaps": 0.3}
PIECES = [
    "It rained. ",
    "Why?\n\n",
    "- item\n",
    "「行く。」",
    "👩\u200d👧 ",
    "e\u0301. ",
    "\x00",
    "\ud800",
    "שלום. ",
    "  ",
]


def untimed(result: PruneResult) -> PruneResult:
    return replace(result, timings=Timings(0, 0, 0, 0))


@settings(max_examples=40)
@given(
    text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=10).map("".join)),
    threshold=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
    joiner=st.sampled_from(["", " ", " […] "]),
)
def test_the_text_is_slices_of_the_callers_string(pruner: Pruner, text: str, threshold: float, joiner: str) -> None:
    options: dict[str, Any] = {"threshold": threshold, "joiner": joiner, "keep_relevant": False, "return_units": True}
    (passage,) = pruner.prune(QUERY, [Passage(text, format="text")], **options).results
    read = text.replace("\ud800", "\ufffd")
    assert passage.text == join_spans(read, passage.spans, joiner)
    assert passage.empty == (not passage.spans)
    assert passage.units is not None
    assert [unit.start for unit in passage.units] + [len(text)] == [0] + [unit.end for unit in passage.units]
    assert passage.kept_units == sum(unit.kept for unit in passage.units)
    assert passage.total_units == len(passage.units)
    assert all(0 <= unit.score <= 1 for unit in passage.units)
    if pruner.encoder.unreadable(read) <= 0.5:
        assert all(unit.kept == (unit.score >= threshold) for unit in passage.units)
    if threshold == 0:
        assert passage.text.strip() == read.strip()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(1, "Yes yes. […] Maybe maybe."), (0, "Perhaps maybe."), (2, "")]),
        ({"threshold": 0.5}, [(1, "Yes yes."), (0, "Perhaps maybe."), (2, "")]),
        ({"threshold": 0.5, "keep_relevant": False}, [(1, "Yes yes."), (0, ""), (2, "")]),
        ({"gap_marker": "[{units}]"}, [(1, "Yes yes. […] [1] […] Maybe maybe."), (0, "Perhaps maybe."), (2, "")]),
        ({"always_keep": ["re:(?i)RAIN"], "top_n": 1}, [(1, "Yes yes. Rain fell. Maybe maybe.")]),
        ({"compression": 0.8, "joiner": " "}, [(1, "Yes yes."), (0, ""), (2, "")]),
        ({"reorder": False}, [(0, "Perhaps maybe."), (1, "Yes yes. […] Maybe maybe."), (2, "")]),
        ({"top_n": 1}, [(1, "Yes yes. […] Maybe maybe.")]),
        ({"min_score": 0.5}, [(1, "Yes yes. […] Maybe maybe."), (0, "Perhaps maybe.")]),
        ({"drop_empty": True}, [(1, "Yes yes. […] Maybe maybe."), (0, "Perhaps maybe.")]),
        ({"min_units": 1}, [(1, "Yes yes. […] Maybe maybe."), (0, "Perhaps maybe."), (2, "Rain fell.")]),
        ({"max_tokens": 3}, [(1, "Yes yes."), (0, ""), (2, "")]),
        ({"max_tokens": 9, "drop_empty": True}, [(1, "Yes yes. […] Maybe maybe.")]),
        ({"joiner": ""}, [(1, "Yes yes.Maybe maybe."), (0, "Perhaps maybe."), (2, "")]),
    ],
)
def test_options_reach_the_result(staged: Staged, options: dict[str, Any], expected: list[tuple[int, str]]) -> None:
    passages = ["Rain fell. Perhaps maybe.", "Yes yes. Rain fell. Maybe maybe.", "Rain fell."]
    defaults: dict[str, Any] = {"threshold": 0.2, "joiner": " […] "}
    request = PruneRequest("q", tuple(map(Passage, passages)), PruneOptions(**defaults | options))
    results = staged(STAGES).prune_request(request).results
    assert [(result.index, result.text) for result in results] == expected


def test_results_carry_the_callers_id_and_metadata(staged: Staged) -> None:
    passages: list[Passage | dict[str, Any]] = [
        Passage("Rain."),
        Passage("Yes.", id=7, metadata={"k": 1}),
        {"text": "Maybe.", "id": "c"},
    ]
    results = staged(STAGES).prune("q", passages, threshold=0.2, drop_empty=True).results
    assert [(result.index, result.id, result.metadata) for result in results] == [(1, 7, {"k": 1}), (2, "c", None)]
    assert [result.score for result in results] == pytest.approx([0.9, 0.5])


@pytest.mark.parametrize(("format", "expected"), [("text", "Yes yes."), ("markdown", "# Weather\n\nYes yes.")])
def test_a_heading_stays_with_its_text_but_in_plain_text(staged: Staged, format: str, expected: str) -> None:
    texts = ["# Weather\n\nRain fell.\nYes yes.", "# Weather\n\nRain fell."]
    passages = [Passage(text, format=format) for text in texts]
    result = staged(STAGES).prune("q", passages, threshold=0.2)
    assert [passage.text for passage in result.results] == [expected, ""]
    assert {passage.format for passage in result.results} == {format}


def test_what_the_model_cannot_read_comes_back_whole_with_a_warning(staged: Staged) -> None:
    text = "ဘယ်မှာလဲ။ ဒီမှာ။ Rain."
    result = staged(STAGES).prune("Wo? 🦜🦜🦜🦜", [text, "Rain. 🦜"], threshold=0.2, return_units=True)
    assert [passage.text for passage in result.results] == [text, "Rain. 🦜"]
    assert {unit.reason for passage in result.results for unit in passage.units or ()} == {"unreadable"}
    assert result.warnings == (
        "query: the model cannot read 57% of the text",
        "passages[0].text: the model cannot read 70% of the text",
        "passages[1].text: the model cannot read 17% of the text",
    )


def test_always_keep_says_what_did_not_fit(staged: Staged) -> None:
    result = staged(STAGES).prune("q", ["Rain fell. Yes yes."], always_keep=["fell", "yes"], max_tokens=3)
    assert (result.text, result.warnings) == (
        "Yes yes.",
        ("always_keep: matching units did not fit into the token budget: 1",),
    )


def test_a_title_is_read_but_never_returned(staged: Staged) -> None:
    (result,) = staged(STAGES).prune("q", [Passage("Rain fell.", title="Yes yes")], threshold=0.0).results
    assert result.score == pytest.approx(0.9)
    assert result.text == "Rain fell."


def test_usage_counts_tokens_of_queries_and_texts(staged: Staged, tokenizer: Tokenizer) -> None:
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    texts = ["Rain fell. Perhaps maybe.", "Yes yes. Rain fell on unbelievably old roofs.", "Rain fell."]
    passages = [Passage(text, title="Weather") for text in texts]
    result = staged(STAGES).prune(QUERY, passages, threshold=0.2, top_n=2, return_units=True)
    assert result.usage.query_tokens == count(QUERY)
    assert result.usage.input_tokens == sum(map(count, texts))
    assert result.usage.output_tokens == sum(count(passage.text) for passage in result.results) == 6
    assert result.usage.compression == pytest.approx(1 - 6 / result.usage.input_tokens)
    for passage in result.results:
        assert passage.units is not None
        text = texts[passage.index]
        assert [unit.tokens for unit in passage.units] == [count(text[unit.start : unit.end]) for unit in passage.units]


def test_durations_add_up(pruner: Pruner) -> None:
    timings = pruner.prune(QUERY, [TOWER, MOON]).timings
    assert timings.tokenize_ms > 0
    assert timings.inference_ms > 0
    assert timings.total_ms >= timings.tokenize_ms + timings.inference_ms
    assert timings.queue_ms == 0


def test_many_requests_get_what_each_gets_alone(staged: Staged, pruner: Pruner) -> None:
    requests = [
        PruneRequest(QUERY, (Passage(TOWER, title="Eiffel Tower"), Passage(MOON)), PruneOptions(threshold=0.2)),
        PruneRequest("Yes?", (Passage("Yes. Rain fell."),), PruneOptions(return_units=True, min_units=1)),
        PruneRequest("Who?", (Passage(""), Passage(MOON * 20)), PruneOptions(max_tokens=20, reorder=False)),
    ]
    for one, exact in ((staged(STAGES), True), (pruner, False)):
        together = one.prune_many(requests)
        alone = [one.prune_request(request) for request in requests]
        if exact:
            assert list(map(untimed, together)) == list(map(untimed, alone))
        for many, single in zip(together, alone, strict=True):
            assert [p.index for p in many.results] == [p.index for p in single.results]
            assert [p.score for p in many.results] == pytest.approx([p.score for p in single.results], abs=1e-4)


def test_no_requests_have_no_results(pruner: Pruner) -> None:
    assert pruner.prune_many([]) == []


def test_the_same_call_gives_the_same_result(pruner: Pruner) -> None:
    first, second = (untimed(pruner.prune(QUERY, [TOWER, MOON, ""], return_units=True)) for _ in range(2))
    assert first == second


def test_results_cannot_be_changed(pruner: Pruner) -> None:
    result = pruner.prune(QUERY, [TOWER], return_units=True)
    passage = result.results[0]
    assert passage.units is not None
    for value, field in (
        (result, "results"),
        (passage, "text"),
        (passage.units[0], "kept"),
        (result.usage, "input_tokens"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, None)
    assert isinstance(result.results, tuple)
    assert isinstance(passage.spans, tuple)


@pytest.mark.parametrize("text", ["", "  \n\n ", "\u200b", "\x00"])
def test_a_blank_passage_comes_back_empty(pruner: Pruner, text: str) -> None:
    result = pruner.prune(QUERY, [text], threshold=0.1)
    (passage,) = result.results
    assert (passage.text, passage.spans, passage.empty, passage.score) == ("", (), True, 0.0)
    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.compression) == (0, 0, 0.0)


def test_a_query_without_a_token_is_run(pruner: Pruner) -> None:
    result = pruner.prune("\x00", [TOWER])
    assert result.usage.query_tokens == 0
    assert 0 <= result.results[0].score <= 1


def test_lone_surrogates_move_no_offset(pruner: Pruner) -> None:
    text = "One half \ud83d of a pair. Another \udc4d."
    result = pruner.prune(QUERY, [text], threshold=0.0)
    assert result.results[0].spans == ((0, len(text)),)
    assert result.results[0].text == "One half \ufffd of a pair. Another \ufffd."
    assert result.warnings == ("passages[0]: lone surrogates were replaced by U+FFFD",)


def test_what_was_cut_is_told(pruner: Pruner) -> None:
    long = "word " * 600
    with pytest.raises(InputError, match=r"query: has 600 tokens, more than the 253 .*truncate_query"):
        pruner.prune(long, [TOWER])
    result = pruner.prune(long, [TOWER, Passage(TOWER, title=long)], truncate_query=True)
    assert result.warnings == ("query: cut to its first 253 tokens", "passages[1].title: cut to fit the window")
    assert result.usage.query_tokens == 253
    assert pruner.prune(QUERY, [Passage(TOWER, title="Eiffel Tower")]).warnings == ()


@pytest.mark.slow
def test_a_target_recall_needs_a_calibrated_model(model_copy: Path) -> None:
    pruner = Pruner.load(model_copy, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"target_recall: model 'secateur-nano-en' has no calibration\.json"):
        pruner.prune(QUERY, [TOWER], target_recall=0.9)


def test_a_target_recall_takes_the_smallest_level_that_is_enough(model_copy: Path) -> None:
    levels = [{"target_recall": 0.95, "threshold": 0.02}, {"target_recall": 0.9, "threshold": 0.05}]
    (model_copy / CALIBRATION).write_text(json.dumps({"levels": levels}), encoding="utf-8")
    pruner = Pruner.load(model_copy, device="cpu", threads=1)
    asked = {recall: pruner.threshold_for(PruneOptions(target_recall=recall)) for recall in (0.5, 0.9, 0.91, 0.95)}
    assert asked == {0.5: 0.05, 0.9: 0.05, 0.91: 0.02, 0.95: 0.02}
    by_recall = pruner.prune(QUERY, [TOWER, MOON], target_recall=0.91, return_units=True)
    assert untimed(by_recall) == untimed(pruner.prune(QUERY, [TOWER, MOON], threshold=0.02, return_units=True))
    with pytest.raises(InputError, match=r"target_recall: 0\.99 is above what .*; give at most 0\.95"):
        pruner.prune(QUERY, [TOWER], target_recall=0.99)


def test_the_default_threshold_is_the_models(pruner: Pruner) -> None:
    assert pruner.threshold_for(PruneOptions()) == pruner.config.threshold
    assert pruner.threshold_for(PruneOptions(threshold=0.0)) == 0.0
