"""Every wrong input is refused with the field, the value and the hint."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from operator import index
from typing import Any

import numpy as np
import pytest

from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest

OPTIONS = PruneOptions()
WRONG_REQUESTS: list[tuple[Any, Any, str]] = [
    ("", ["text"], "query: is empty"),
    (" \n", ["text"], "query: is empty"),
    (None, ["text"], "query: None is not a string"),
    (b"query", ["text"], "query: b'query' is not a string"),
    ("query", [], "passages: is empty"),
    ("query", "text", "passages: 'text' is not a list"),
    ("query", None, "passages: None is not a list"),
    ("query", {"text": "x"}, "passages: {'text': 'x'} is not a list"),
    ("query", {"x"}, "passages: {'x'} is not a list"),
    ("query", ["text", 3], "passages[1]: 3 is not a passage"),
    ("query", [None], "passages[0]: None is not a passage"),
    ("query", [["text"]], "passages[0]: ['text'] is not a passage"),
    ("query", [{}], "passages[0].text: is missing"),
    ("query", [{"title": "x"}], "passages[0].text: is missing"),
    ("query", [{"text": None}], "passages[0].text: None is not a string"),
    ("query", [{"text": 3}], "passages[0].text: 3 is not a string"),
    ("query", [Passage(3)], "passages[0].text: 3 is not a string"),  # type: ignore[arg-type]
    ("query", [{"text": "x", "title": 3}], "passages[0].title: 3 is not a string"),
    ("query", [{"text": "x", "id": 1.5}], "passages[0].id: 1.5 is not a string or integer"),
    ("query", [{"text": "x", "id": True}], "passages[0].id: True is not a string or integer"),
    ("query", [{"text": "x", "metadata": "m"}], "passages[0].metadata: 'm' is not an object"),
    ("query", [{"text": "x", "metadata": ["m"]}], "passages[0].metadata: ['m'] is not an object"),
    ("query", [{"text": "x", "format": "docx"}], "passages[0].format: unknown format 'docx'"),
    ("query", [{"text": "x", "format": 3}], "passages[0].format: unknown format 3"),
]
WRONG_OPTIONS: list[tuple[str, Any]] = [
    *(("threshold", value) for value in (-0.1, 1.1, float("nan"), float("inf"), 10**400, True, "0.5", [0.5], 1j)),
    *(("threshold", value) for value in (Decimal("1.5"), Decimal("nan"), Decimal("snan"), Fraction(3, 2), np.bool_(1))),
    *(("target_recall", value) for value in (-0.1, 1.1, float("nan"), True, "0.9", [0.9])),
    *(("min_score", value) for value in (-0.1, 1.1, float("nan"), True, "0.5")),
    *(("max_tokens", value) for value in (0, -1, 1.0, True, "10")),
    *(("top_n", value) for value in (0, -1, 1.0, True, "10", np.int64(0), np.float32(1), np.bool_(1), np.ones(1))),
    *(("min_units", value) for value in (-1, 1.0, True, None)),
    *((name, 1) for name in ("reorder", "keep_relevant", "drop_empty", "return_units", "truncate_query")),
    *(("joiner", value) for value in (None, 3, ["x"], "j" * 1001)),
    *(("keep_structure", value) for value in (1, "yes")),
    *((name, value) for name in ("neighbours", "head", "tail") for value in (-1, 1.0, True, None)),
    *(("compression", value) for value in (-0.1, 1.1, True, "0.5")),
    *(("gap_marker", value) for value in (3, "{line}", "m" * 1001)),
    *((name, value) for name in ("always_keep", "never_keep") for value in (None, "errors", {"errors"}, 3)),
    *((name, ["x"] * 101) for name in ("always_keep", "never_keep")),
]


@pytest.mark.parametrize(("query", "passages", "message"), WRONG_REQUESTS)
def test_a_wrong_request_is_refused(pruner: Pruner, query: Any, passages: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        pruner.prune(query, passages)
    assert str(error.value).startswith(message)
    assert error.value.hint


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS)
def test_a_wrong_option_is_refused(pruner: Pruner, name: str, value: Any) -> None:
    with pytest.raises(InputError) as error:
        pruner.prune("query", ["text"], **{name: value})
    assert error.value.field == name
    assert error.value.hint


class Two:
    """An integer of somebody's own."""

    def __index__(self) -> int:
        return 2

    def __repr__(self) -> str:  # which the tests' names are made of, the same in every process
        return "Two()"


NUMBERS = [0, 1, 0.5, np.float16(0.5), np.float32(0.5), np.float64(1), np.int64(1), Decimal("0.5"), Fraction(1, 2)]
INTEGERS = [2, np.int8(2), np.int64(2), np.uint32(2), np.array(2), Two(), 10**30]


@pytest.mark.parametrize("name", ["threshold", "target_recall", "min_score"])
@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_a_number_of_any_type_becomes_a_float(name: str, value: Any) -> None:
    found = getattr(check_request("query", ["text"], PruneOptions(**{name: value})).request.options, name)
    assert type(found) is float
    assert found == float(value)


@pytest.mark.parametrize("name", ["max_tokens", "top_n", "min_units"])
@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_an_integer_of_any_type_becomes_an_int(name: str, value: Any) -> None:
    found = getattr(check_request("query", ["text"], PruneOptions(**{name: value})).request.options, name)
    assert type(found) is int
    assert found == index(value)


@pytest.mark.parametrize("name", ["reorder", "keep_relevant", "drop_empty", "return_units", "truncate_query"])
def test_a_boolean_of_numpy_becomes_a_bool(name: str) -> None:
    for value in (True, False):
        options = PruneOptions(**{name: np.bool_(value)})  # type: ignore[arg-type]
        assert getattr(check_request("query", ["text"], options).request.options, name) is value


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_an_id_of_any_integer_type_becomes_an_int(value: Any) -> None:
    for passage in (Passage("text", id=value), {"text": "text", "id": value}):
        (found,) = check_request("query", [passage], OPTIONS).request.passages
        assert type(found.id) is int
        assert found.id == index(value)


def test_results_of_numpy_numbers_are_plain_json(pruner: Pruner) -> None:
    passages = [Passage("One. Two.", id=np.int64(7)), {"text": np.str_("Three. Four."), "id": np.uint8(8)}]  # type: ignore[arg-type]
    options = {"top_n": np.int64(2), "max_tokens": np.int32(50), "min_units": np.int16(1), "threshold": np.float32(0.5)}
    found = pruner.prune("query", passages, return_units=np.bool_(True), **options)  # type: ignore[arg-type]
    read = json.loads(json.dumps(asdict(found)))
    assert {one["id"] for one in read["results"]} == {7, 8}
    assert read["threshold"] == 0.5


def test_threads_of_any_integer_type_are_a_number_of_threads() -> None:
    assert len(Pruner.load(backend="onnx", device="cpu", threads=np.int64(1)).prune("query", ["text"]).results) == 1  # type: ignore[arg-type]
    for threads in (True, np.int64(0), 1.0):
        with pytest.raises(InputError) as error:
            Pruner.load(backend="onnx", device="cpu", threads=threads)  # type: ignore[arg-type]
        assert error.value.field == "threads"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": 0.5, "max_tokens": 9}, r"compression: cannot be used with max_tokens 9"),
        ({"always_keep": ["a", "re:("]}, r"always_keep\[1\]: 're:\('.*RE2"),
        ({"never_keep": ["a" * 1001]}, r"never_keep\[0\]: has 1001 characters"),
        ({"never_keep": [""]}, r"never_keep\[0\]: has 0 characters; give a string of 1 to 1,000 characters"),
        ({"never_keep": ["x", 3]}, r"never_keep\[1\]: 3 is not a string"),
        ({"always_keep": ["errors"], "never_keep": ["x", "errors"]}, r"always_keep: 'errors' is in never_keep too"),
    ],
)
def test_options_that_cannot_be_used_name_their_field(pruner: Pruner, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pruner.prune("query", ["text"], **options)


def test_a_threshold_and_a_target_recall_exclude_each_other(pruner: Pruner) -> None:
    with pytest.raises(InputError, match=r"target_recall: cannot be used with threshold 0\.5"):
        pruner.prune("query", ["text"], threshold=0.5, target_recall=0.9)


def test_a_long_value_is_shown_in_short() -> None:
    with pytest.raises(InputError) as error:
        check_request("query", "text" * 1000, OPTIONS)
    assert len(str(error.value)) < 200


def test_passages_come_as_strings_mappings_or_passages() -> None:
    passage = Passage("c", id=3, title="t", metadata={"k": "v"})
    given = ["a", {"text": "b", "id": "x", "title": None, "format": None, "score": 0.3}, passage]
    request = check_request("query", given, OPTIONS).request
    assert request.passages == (Passage("a"), Passage("b", id="x"), passage)
    assert check_request("query", tuple(given), OPTIONS).request == request


def test_a_wrong_request_among_many_is_numbered(pruner: Pruner) -> None:
    right = PruneRequest("query", (Passage("text"),))
    wrong = PruneRequest("query", (Passage("text"), Passage("text", title=3)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"requests\[1\]\.passages\[1\]\.title: 3 is not a string"):
        pruner.prune_many([right, wrong])


def test_lone_surrogates_are_replaced_one_for_one_and_told() -> None:
    passages = ["fine 👍", "bad \ud83d half", Passage("fine", title="\udc4d")]
    checked = check_request("wh\ud800y", passages, OPTIONS)
    assert checked.request.query == "wh\ufffdy"
    assert [passage.text for passage in checked.request.passages] == ["fine 👍", "bad \ufffd half", "fine"]
    assert checked.request.passages[2].title == "\ufffd"
    assert checked.warnings == (
        "query: lone surrogates were replaced by U+FFFD",
        "passages[1]: lone surrogates were replaced by U+FFFD",
        "passages[2]: lone surrogates were replaced by U+FFFD",
    )


def test_a_clean_request_is_passed_on_without_a_warning() -> None:
    checked = check_request("why?", ["fine 👍"], OPTIONS)
    assert checked.warnings == ()
    assert checked.request == PruneRequest("why?", (Passage("fine 👍"),), OPTIONS)
