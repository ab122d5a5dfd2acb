"""An answer of a service that is not trusted: its values are checked one by one, and against each other."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_spans import join_spans
from prune_answer import GOOD, QUERY, TEXT, TEXTS, changed, field_pattern

from secateur import InputError
from secateur.client import BadResponseError
from secateur.client.answers import Answers
from secateur.client.wire import answer_limit, body, split
from secateur.models.kept_text import line_spans
from secateur.models.options import PruneOptions
from secateur.models.requests import check_request
from secateur.models.types import PruneRequest, PruneResult


def request_of(**options: Any) -> PruneRequest:
    return check_request(QUERY, TEXTS, PruneOptions(**options)).request


def answered(answer: Any, **options: Any) -> PruneResult:
    request = request_of(**options)
    return Answers().result(json.dumps(answer).encode(), request, split(request)[0])


def test_the_good_answer_is_read() -> None:
    result = answered(GOOD, return_units=True)
    assert [item.text for item in result.results] == ["It was finished in 1889. Millions come.", ""]
    assert [unit.kept for unit in result.results[0].units or ()] == [True, False, True]


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("value", [10**399, 10**4000, NAN, INFINITY, -INFINITY, -0.1, 1.1, "1", True, None, [0.5]])
@pytest.mark.parametrize("path", ["results.0.score", "results.0.units.1.score", "threshold", "usage.compression"])
def test_a_probability_is_a_number_from_0_to_1(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=field_pattern(path)):
        answered(changed(path, value), return_units=True)


@pytest.mark.parametrize("value", [-1, NAN, INFINITY, 10**400, "0", None])
@pytest.mark.parametrize("path", ["timings.queue_ms", "timings.total_ms"])
def test_a_time_is_a_finite_number(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=field_pattern(path)):
        answered(changed(path, value))


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None, 10**9])
@pytest.mark.parametrize(
    "path",
    [
        "results.0.index",
        "results.0.kept_units",
        "results.0.total_units",
        "results.0.units.0.start",
        "results.0.units.0.end",
        "usage.output_tokens",
    ],
)
def test_a_count_is_a_whole_number_in_its_range(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=r"`results\[0\]|`usage.output_tokens`"):
        answered(changed(path, value), return_units=True)


def test_a_number_of_five_thousand_digits_is_refused() -> None:
    content = json.dumps(GOOD).replace("0.75", "7" * 5_000).encode()
    with pytest.raises(BadResponseError, match="JSON"):
        Answers().result(content, request_of(), split(request_of())[0])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("results.0.spans", [[36, 50], [0, 24]]),
        ("results.0.spans", [[0, 24], [20, 50]]),
        ("results.0.spans", [[0, 24], [36, 51]]),
        ("results.0.spans", [[0, 24], [36, 36]]),
        ("results.0.spans", [[False, 24], [36, 50]]),
        ("results.0.spans", [[0, 24], [36.0, 50]]),
        ("results.0.spans", [[0, 24, 30]]),
        ("results.0.spans", [["0", "24"]]),
        ("results.0.spans", {"0": 24}),
        ("results.0.spans", [[0, 24]]),
        ("results.0.text", "It was finished in 1887. Millions come."),
        ("results.0.text", "It was finished in 1889.Millions come."),
        ("results.0.text", ""),
        ("results.0.text", None),
        ("results.1.text", "Bread."),
        ("results.0.line_spans", [[1, 1], [1, 2]]),
        ("results.0.line_spans", [[0, 1], [1, 1]]),
        ("results.0.line_spans", [[1, 1]]),
        ("results.0.line_spans", None),
        ("results.0.format", "auto"),
        ("results.0.format", "glitter"),
        ("results.0.format", None),
        ("results.0.empty", True),
        ("results.1.empty", False),
        ("results.1.empty", 1),
        ("results.0.kept_units", 1),
        ("results.0.total_units", 1),
        ("results.1.index", 0),
        ("results.1.index", 2),
        ("results.0.units", []),
        ("results.0.units", None),
        ("results.0.units.0.kind", "paragraph"),
        ("results.0.units.1.kept", True),
        ("results.0.units.0.reason", None),
        ("results.0.units.0.reason", "never"),
        ("results.0.units.0.reason", "luck"),
        ("results.0.units.1.reason", "score"),
        ("results.0.units.1.start", 10),
        ("results.0.units.1.tokens", -1),
        ("warnings", [1]),
        ("warnings", "cut"),
        ("usage.input_tokens", 7),
        ("usage", []),
        ("results", []),
        ("results", {}),
    ],
)
def test_what_does_not_fit_together_is_refused(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError):
        answered(changed(path, value), return_units=True)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"threshold": 0.5}, "threshold"),
        ({"min_score": 0.5}, r"results\[1\].score"),
        ({"top_n": 1}, "results"),
        ({"drop_empty": True}, r"results\[1\].empty"),
        ({"joiner": " … "}, r"results\[0\].text"),
    ],
    ids=str,
)
def test_an_answer_to_other_options_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(BadResponseError, match=f"`{field}` is"):
        answered(GOOD, **options)


MARKED = "It was finished in 1889. [1 unit, It was] Millions come."


@pytest.mark.parametrize(
    ("text", "ends", "fits"),
    [
        (MARKED, False, True),
        (MARKED, True, True),
        (f"[0] {MARKED} [0]", True, True),
        (f"[0] {MARKED}", False, False),
        (f"{MARKED} [0]", False, False),
        ("It was finished in 1889. Millions come.", False, True),
        ("It was finished in 1889.Millions come.", False, False),
        ("It was finished in 1889. [1 unit]", False, False),
        ("It was finished in 1889. [1 unit]", True, False),
        ("Millions come. [1 unit] It was finished in 1889.", True, False),
        ("", True, False),
    ],
)
def test_a_text_with_markers_has_its_spans_in_order(text: str, ends: bool, fits: bool) -> None:
    options = {"gap_marker": "[{units} unit]", "gap_marker_ends": ends}
    if fits:
        assert answered(changed("results.0.text", text), **options).results[0].text == text
    else:
        with pytest.raises(BadResponseError, match=r"`results\[0\].text` is"):
            answered(changed("results.0.text", text), **options)
    with pytest.raises(BadResponseError, match=r"`results\[1\].text` is"):
        answered(changed("results.1.text", "[0]"), **options)


def test_markers_and_joiners_are_tokens_too() -> None:
    more = changed("usage", {"query_tokens": 5, "input_tokens": 14, "output_tokens": 20, "compression": 0.0})
    assert answered(more, gap_marker="[…]").usage.output_tokens == 20
    with pytest.raises(BadResponseError, match=r"`usage.output_tokens` is 20; there are 14 input tokens"):
        answered(more)


@given(st.lists(st.text(" a\n", min_size=1, max_size=6), min_size=1, max_size=9), st.text(" x\n", max_size=3))
def test_every_text_that_joins_spans_is_read(pieces: list[str], joiner: str) -> None:
    text, spans = "".join(pieces), []
    for number, end in enumerate(accumulate(map(len, pieces))):
        if number % 2 == 0:
            spans.append((end - len(pieces[number]), end))
    request = check_request(QUERY, [text], PruneOptions(joiner=joiner)).request
    result: dict[str, Any] = {"index": 0, "score": 0.5, "text": join_spans(text, spans, joiner), "spans": spans}
    result |= {"line_spans": line_spans(text, spans), "format": "text", "empty": False}
    answer = changed("results", [result | {"kept_units": len(spans), "total_units": len(spans)}])
    (found,) = Answers().result(json.dumps(answer).encode(), request, split(request)[0]).results
    assert found.text == result["text"]
    answer["results"][0]["text"] += "a"
    with pytest.raises(BadResponseError, match=r"`results\[0\].text` is"):
        Answers().result(json.dumps(answer).encode(), request, split(request)[0])


def test_the_format_is_the_one_that_was_asked_for() -> None:
    request = check_request(QUERY, [{"text": TEXT, "format": "lines"}, TEXTS[1]], PruneOptions()).request
    with pytest.raises(BadResponseError, match=r"`results\[0\].format` is 'text'; the passage was sent as 'lines'"):
        Answers().result(json.dumps(GOOD).encode(), request, split(request)[0])


def test_a_passage_may_be_left_out_only_where_an_option_says_so() -> None:
    fewer = changed("results", GOOD["results"][:1])
    assert len(answered(fewer, drop_empty=True).results) == len(answered(fewer, top_n=1).results) == 1
    assert len(answered(fewer, min_score=0.5).results) == 1
    with pytest.raises(BadResponseError, match="`results` is"):
        answered(fewer)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
@settings(max_examples=25, deadline=None)
def test_any_value_in_any_place_is_an_error_or_a_result(value: Any) -> None:
    places = ["results", "results.0", "results.0.spans", "results.0.spans.0", "results.0.text", "results.0.units"]
    for path in [*places, "results.0.index", "threshold", "usage", "usage.query_tokens", "timings", "warnings"]:
        try:
            result = answered(changed(path, value), return_units=True)
        except BadResponseError:
            continue
        for item in result.results:
            assert item.text == join_spans(TEXTS[item.index], item.spans, " ")


@given(
    st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5),
    st.text(max_size=9),
    st.none() | st.text(max_size=9),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_the_largest_honest_answer_is_below_the_limit(
    texts: list[str], joiner: str, marker: str | None, units: bool
) -> None:
    try:
        options = PruneOptions(joiner=joiner, gap_marker=marker, gap_marker_ends=True, return_units=units)
        request = check_request("q", texts, options).request
    except InputError:  # a marker with a field that there is not
        return
    (part,) = split(request)
    results: list[Any] = []
    for index, passage in enumerate(part.passages):
        spans = [[start, start + 1] for start in range(0, len(passage.text), 2)]
        gap = joiner if marker is None else f"{joiner}{marker}{joiner}"
        text = gap + join_spans(passage.text, [(start, end) for start, end in spans], gap) + gap
        unit = {"start": 499_999, "end": 500_000, "kind": "table_header", "score": 1 / 3, "kept": False}
        unit |= {"reason": "relevant passage", "tokens": 99_999}
        results.append(
            {"index": index, "id": None, "score": 1 / 3, "text": text, "spans": spans, "kept_units": 1}
            | {"line_spans": [[499_999, 500_000]] * len(spans), "format": "markdown"}
            | {"total_units": 1, "empty": False, "metadata": None, "units": [unit] * (len(passage.text) * units)}
        )
    answer = json.dumps(changed("results", results)).encode()
    assert len(answer) <= answer_limit(request, part, body(request, part, None))
