from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from secateur.eval.report.markdown import render_markdown


def test_figures_stand_with_their_intervals(metrics: dict[str, Any]) -> None:
    text = render_markdown(metrics)
    assert "0.761 [0.731, 0.781]" in text
    assert "0.930 [0.910, 0.950]" in text
    assert "| 1 | 900 | 0.980 [0.970, 0.990] | 0.70 |" in text
    assert "| typos | 0.700 | **−0.061 [−0.080, −0.040]** | one typo in each fifth word |" in text
    assert "| contracts | query too long | 3 |" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_it_says_where_the_first_system_does_not_win(metrics: dict[str, Any]) -> None:
    text = render_markdown(metrics)
    assert "`secateur` against `bm25`, area: significantly better on 1 of 2 sources compared." in text
    assert "It is significantly WORSE on `tables` (−0.079 [−0.119, −0.039])." in text
    assert "It does NOT beat `random_$x$` significantly on `contracts` (+0.012 [−0.028, +0.052])." in text
    assert "| bm25 | area | +0.260 [+0.220, +0.300] | &lt;0.001 | significantly better |" in text
    assert "| tables | 0.652 | **0.731‡** | – |" in text
    assert "| contracts | **0.761** | 0.501 | 0.200† |" in text
    assert "| unanswerable | – | – | – |" in text


def test_a_win_everywhere_is_one_short_sentence(metrics: dict[str, Any]) -> None:
    metrics["comparisons"] = [row for row in metrics["comparisons"] if row["difference"] > 0.2]
    text = render_markdown(metrics)
    assert "against `bm25`, area: significantly better on every source compared (1)." in text
    assert "NOT" not in text


def test_comparisons_are_read_from_either_side(metrics: dict[str, Any]) -> None:
    turned = copy.deepcopy(metrics)
    for row in turned["comparisons"]:
        row["a"], row["b"] = row["b"], row["a"]
        row["difference"] = -row["difference"]
        row["interval"] = [-row["interval"][1], -row["interval"][0]]
    assert render_markdown(turned) == render_markdown(metrics)


def test_without_a_flag_the_interval_decides(metrics: dict[str, Any]) -> None:
    expected = render_markdown(metrics)
    for row in metrics["comparisons"]:
        del row["significant"]
    assert render_markdown(metrics) == expected


def test_a_cell_cannot_break_its_table(metrics: dict[str, Any]) -> None:
    assert "| machine | a \\| b |" in render_markdown(metrics)


@pytest.mark.parametrize("part", ["needle", "robustness", "skipped", "comparisons", "setup"])
def test_parts_may_be_null(metrics: dict[str, Any], part: str) -> None:
    metrics[part] = None
    render_markdown(metrics)


def test_a_run_of_nothing_but_names_still_renders() -> None:
    text = render_markdown({"systems": {"secateur": {"macro": None, "sources": {"a": {"area": float("nan")}}}}})
    assert "| a | – |" in text
