from __future__ import annotations

import pytest

from secateur.eval.significance import ComparisonRow, comparison_markdown


def row(scope: str, difference: float, *, figure: str = "area", margin: float = 0.02) -> ComparisonRow:
    ends = difference - margin, difference + margin
    return ComparisonRow(difference, *ends, 0.01, figure, scope, 0.7, 0.7 + difference)


@pytest.mark.parametrize(
    ("difference", "says"),
    [(0.03, "new is better than old"), (-0.03, "new is WORSE than old"), (0.01, "new does not differ significantly")],
)
def test_the_verdict_stands_on_top(difference: float, says: str) -> None:
    text = comparison_markdown([row("macro", difference), row("x", 0.5)], a_name="old", b_name="new")
    verdict = text.splitlines()[0]
    assert says in verdict
    assert "of 1 sources 1 significantly better, 0 worse, 0 without a significant change" in verdict


def test_macro_first_then_sources_by_difference() -> None:
    rows = [row("macro", 0.03), row("flat", 0.001), row("loss", -0.1), row("gain", 0.2), row("x", 0.1, figure="mrr")]
    lines = [line for line in comparison_markdown(rows).splitlines() if line.startswith("| ")]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == ["scope", "---", "**macro**", "gain", "flat", "loss", "scope", "---", "**x**"]
    assert lines[3] == "| gain | 0.700 | 0.900 | +0.200 | [+0.180, +0.220] | 0.010 | **better** |"
    assert lines[4].endswith("| no significant change |")
    assert lines[5].endswith("| **worse** |")


def test_an_interval_that_touches_zero_is_not_significant() -> None:
    assert not ComparisonRow(0.02, 0.0, 0.04, 0.04, "area", "macro", 0.7, 0.72).significant


def test_nothing_in_common_is_said() -> None:
    assert "nothing can be compared" in comparison_markdown([])


def test_warnings_are_listed() -> None:
    text = comparison_markdown([row("macro", 0.1)], warnings=["limit: 60 in the first run, None in the second"])
    assert "- limit: 60 in the first run" in text
