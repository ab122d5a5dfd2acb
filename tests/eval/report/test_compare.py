from __future__ import annotations

import pytest

from secateur.eval.report.compare import ComparisonRow, comparison_markdown, setup_differences


def row(scope: str, difference: float, *, figure: str = "area", margin: float = 0.02) -> ComparisonRow:
    return ComparisonRow(
        figure, scope, 0.7, 0.7 + difference, difference, difference - margin, difference + margin, 0.01
    )


@pytest.mark.parametrize(
    ("difference", "says"),
    [(0.03, "new is better than old"), (-0.03, "new is WORSE than old"), (0.01, "new does not differ significantly")],
)
def test_the_verdict_stands_on_top(difference: float, says: str) -> None:
    text = comparison_markdown([row("x", 0.5), row("macro", difference)], a_name="old", b_name="new")
    verdict = text.splitlines()[0]
    assert says in verdict
    assert "of 1 sources 1 significantly better, 0 worse, 0 without a significant change" in verdict


def test_macro_first_then_sources_by_difference() -> None:
    rows = [row("flat", 0.001), row("loss", -0.1), row("gain", 0.2), row("macro", 0.03), row("x", 0.1, figure="mrr")]
    lines = [line for line in comparison_markdown(rows).splitlines() if line.startswith("| ")]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == ["scope", "---", "**macro**", "gain", "flat", "loss", "scope", "---", "x"]
    assert lines[3] == "| gain | 0.700 | 0.900 | +0.200 | [+0.180, +0.220] | 0.010 | **better** |"
    assert lines[4].endswith("| no significant change |")
    assert lines[5].endswith("| **worse** |")


def test_an_interval_that_touches_zero_is_not_significant() -> None:
    assert not ComparisonRow("area", "macro", 0.7, 0.72, 0.02, 0.0, 0.04).significant


def test_without_a_macro_average_the_sources_are_counted() -> None:
    text = comparison_markdown([row("x", -0.2), row("y", 0.0)])
    assert text.startswith("**B against A, area: of 2 sources 0 significantly better, 1 worse, 1 without")


def test_nothing_in_common_is_said() -> None:
    assert "nothing can be compared" in comparison_markdown([])


def test_runs_on_other_data_are_flagged() -> None:
    a = {"setup": {"data": "test", "limit": 60, "titles": False, "machine": "x"}}
    b = {"setup": {"data": "test", "limit": None, "titles": False, "machine": "y"}}
    warnings = setup_differences(a, b)
    assert warnings == ["limit: 60 in the first run, None in the second"]
    assert "- limit: 60 in the first run" in comparison_markdown([row("macro", 0.1)], warnings=warnings)
    assert setup_differences(a, a) == []
