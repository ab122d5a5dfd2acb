"""Formats and context controls over HTTP: bad values are named, and the answer says what was kept and why."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import pytest

from secateur.models.types import DropReason, Reason, UnitKind
from secateur.service.schemas import REASONS

QUERY = "When was it finished?"
LOG = "12:00 start\n12:01 ERROR: no disk\n12:02 it was finished\n12:03 stop\n"
TABLE = "# Towers\n\n| Tower | Year |\n| --- | --- |\n| Eiffel | 1889 |\n| Fernseh | 1969 |\n"


def post(client: httpx.Client, *passages: Any, **options: Any) -> httpx.Response:
    return client.post("/v1/prune", json={"query": QUERY, "passages": passages, **options})


def pruned(client: httpx.Client, *passages: Any, **options: Any) -> dict[str, Any]:
    response = post(client, *passages, **options)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"compression": 1.5}, "compression", "1.5 is out of range"),
        ({"compression": 0.5, "max_tokens": 9}, "compression", "cannot be used with max_tokens 9"),
        ({"neighbours": -1}, "neighbours", "-1 is out of range"),
        ({"keep_structure": "yes"}, "keep_structure", "'yes' is invalid"),
        ({"always_keep": "errors"}, "always_keep", "'errors' is invalid"),
        ({"always_keep": ["a", 3]}, "always_keep[1]", "3 is invalid"),
        ({"always_keep": ["a"] * 101}, "always_keep", "has 101 entries"),
        ({"never_keep": ["a", ""]}, "never_keep[1]", "has 0 characters"),
        ({"never_keep": ["a" * 1001]}, "never_keep[0]", "has 1001 characters"),
        ({"always_keep": ["re:("]}, "always_keep[0]", "'re:(' is not a valid RE2 pattern: missing )"),
        ({"never_keep": ["a", r"re:(a)\1"]}, "never_keep[1]", "is not a valid RE2 pattern: invalid escape"),
        ({"always_keep": ["a"], "never_keep": ["b", "a"]}, "always_keep", "'a' is in never_keep too"),
        ({"gap_marker": "[{rows}]"}, "gap_marker", "has the unknown field {rows}"),
        ({"gap_marker": "a" * 1001}, "gap_marker", "has 1001 characters"),
    ],
)
def test_a_bad_option_is_named(client: httpx.Client, options: dict[str, Any], field: str, said: str) -> None:
    response = post(client, "a", **options)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert said in error["problem"]


def test_an_unknown_format_is_named_with_the_known_ones(client: httpx.Client) -> None:
    (error,) = post(client, "a", {"text": "b", "format": "docx"}).json()["errors"]
    assert (error["field"], error["problem"]) == ("passages[1].format", "unknown format 'docx'")
    assert error["hint"] == "use one of auto, text, markdown, html, lines, json"


def test_the_answer_says_by_which_format_a_passage_was_cut(client: httpx.Client) -> None:
    passages = ["It rained. It snowed.", TABLE, '{"a": 1, "b": 2}', LOG, {"text": LOG, "format": "text"}]
    results = pruned(client, *passages, reorder=False)["results"]
    assert [result["format"] for result in results] == ["text", "markdown", "json", "lines", "text"]


def test_each_unit_says_why_it_is_kept_or_dropped(client: httpx.Client) -> None:
    controls = {"always_keep": ["errors"], "never_keep": ["stop"], "head": 1, "threshold": 1.0, "keep_relevant": False}
    (result,) = pruned(client, {"text": LOG, "format": "lines"}, **controls, return_units=True)["results"]
    found = [(unit["kind"], unit["kept"], unit["reason"]) for unit in result["units"]]
    assert found == [
        ("line", True, "head"),
        ("line", True, "always"),
        ("line", False, None),
        ("line", False, "never"),
    ]
    assert result["text"] == "12:00 start\n12:01 ERROR: no disk"
    assert result["line_spans"] == [[1, 2]]


def test_structure_comes_with_what_needs_it(client: httpx.Client) -> None:
    controls = {"always_keep": ["Fernseh"], "threshold": 1.0, "keep_relevant": False, "return_units": True}
    (result,) = pruned(client, TABLE, **controls)["results"]
    reasons = [unit["reason"] for unit in result["units"] if unit["kept"]]
    assert set(reasons) == {"structure", "always"}
    assert result["text"] == "# Towers\n\n| Tower | Year |\n| --- | --- |\n| Fernseh | 1969 |"
    assert result["line_spans"] == [[1, 4], [6, 6]]
    (bare,) = pruned(client, TABLE, **controls, keep_structure=False)["results"]
    assert bare["text"] == "| Fernseh | 1969 |"


def test_gaps_are_marked(client: httpx.Client) -> None:
    controls = {"head": 1, "tail": 1, "threshold": 1.0, "keep_relevant": False}
    marker = "[{lines} lines, {first_line}-{last_line}]"
    (result,) = pruned(client, {"text": LOG, "format": "lines"}, **controls, gap_marker=marker)["results"]
    assert result["text"] == "12:00 start\n[2 lines, 2-3]\n12:03 stop"
    assert result["line_spans"] == [[1, 1], [4, 4]]


def test_text_that_the_model_cannot_read_is_whole_with_a_warning(client: httpx.Client) -> None:
    content = pruned(client, "It rained.", "\U0001f600 \U0001f5fc \U0001f44d", reorder=False, return_units=True)
    assert content["warnings"] == ["passages[1].text: the model cannot read 100% of the text"]
    unreadable = content["results"][1]
    assert unreadable["text"] == "\U0001f600 \U0001f5fc \U0001f44d"
    assert {unit["reason"] for unit in unreadable["units"]} == {"unreadable"}


def test_a_dropped_duplicate_says_so(client: httpx.Client) -> None:
    text = "It was finished in March 1889."
    results = pruned(client, text, text, threshold=0.0, dedupe=True, return_units=True)["results"]
    assert [unit["reason"] for result in results for unit in result["units"]] == ["score", "duplicate"]


def test_compression_is_the_share_that_is_dropped(client: httpx.Client) -> None:
    text = " ".join(f"Tower {number} was finished in {1800 + number}." for number in range(50))
    usage = pruned(client, text, compression=0.7)["usage"]
    assert 0.7 <= usage["compression"] < 0.75


def test_the_schema_documents_kinds_reasons_and_formats(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert list(REASONS) == [*get_args(Reason), *get_args(DropReason)]
    unit = schemas["UnitOut"]["properties"]
    assert unit["kind"]["enum"] == list(get_args(UnitKind))
    assert [name for one in unit["reason"]["anyOf"] for name in one.get("enum", [])] == list(REASONS)
    assert all(f"`{name}`: {meaning}." in unit["reason"]["description"] for name, meaning in REASONS.items())
    assert schemas["ResultOut"]["properties"]["format"]["enum"] == ["text", "markdown", "html", "lines", "json"]
    always = schemas["PruneBody"]["properties"]["always_keep"]
    assert always["items"] == {"type": "string", "minLength": 1, "maxLength": 1000}
    assert (always["maxItems"], {kind["type"] for kind in always["anyOf"]}) == (100, {"array", "null"})
