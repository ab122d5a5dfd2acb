"""What changed between two runs, and whether it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secateur.eval.report.content import decimal, p_value, signed, signed_with_interval
from secateur.eval.report.markdown import escape_markdown
from secateur.eval.report.values import MACRO, Interval, Json
from secateur.eval.tables import markdown_table

# What two runs must share for a difference between them to be one between their systems.
_SHARED_SETTINGS = ("data", "limit", "titles", "segmenter")


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One figure of two runs, over the queries that both scored.

    Attributes:
        figure: its name, e.g. ``area``; better when higher.
        scope: ``macro`` or a source.
        a: the value in the first run.
        b: the value in the second run.
        difference: b minus a, so that above zero the second run is better.
        low: lower end of the difference's interval.
        high: upper end.
        p: of no difference; None where it was not computed.
    """

    figure: str
    scope: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return Interval(self.low, self.high).excludes_zero()

    @property
    def outcome(self) -> str:
        """``better``, ``worse`` or ``no significant change``, of the second run."""
        if not self.significant:
            return "no significant change"
        return "better" if self.difference > 0 else "worse"


def setup_differences(a: Json, b: Json) -> list[str]:
    """Say in which settings two runs differ that make their figures incomparable.

    Args:
        a: the first run's metrics.
        b: the second run's.

    Returns:
        One text a setting; empty where the runs can be compared.
    """
    first, second = a.get("setup") or {}, b.get("setup") or {}
    return [
        f"{name}: {first.get(name)!r} in the first run, {second.get(name)!r} in the second"
        for name in _SHARED_SETTINGS
        if first.get(name) != second.get(name)
    ]


def _count(rows: Sequence[ComparisonRow], outcome: str) -> int:
    return sum(row.outcome == outcome for row in rows)


def verdict(rows: Sequence[ComparisonRow], a_name: str, b_name: str) -> str:
    """Say in one line which run is better in the first figure, by its macro average where there is one.

    Args:
        rows: at least one.
        a_name: what to call the first run.
        b_name: what to call the second run.
    """
    figure = rows[0].figure
    rows = [row for row in rows if row.figure == figure]
    sources = [row for row in rows if row.scope != MACRO]
    counts = (
        f"of {len(sources)} sources {_count(sources, 'better')} significantly better, "
        f"{_count(sources, 'worse')} worse, {_count(sources, 'no significant change')} without a significant change"
    )
    average = next((row for row in rows if row.scope == MACRO), None)
    if average is None:
        return f"{b_name} against {a_name}, {figure}: {counts}."
    says = "does not differ significantly from"
    if average.significant:
        says = "is better than" if average.difference > 0 else "is WORSE than"
    change = signed_with_interval(average.difference, Interval(average.low, average.high))
    return f"{b_name} {says} {a_name}: macro {figure} {change}" + (f"; {counts}." if sources else ".")


def _figure_table(figure: str, rows: Sequence[ComparisonRow], a_name: str, b_name: str) -> str:
    ordered = sorted(rows, key=lambda row: (row.scope != MACRO, -row.difference, row.scope))
    header = ["scope", a_name, b_name, "difference", "95% interval", "p", f"{b_name} is"]
    lines = [
        [
            f"**{row.scope}**" if row.scope == MACRO else escape_markdown(row.scope),
            decimal(row.a),
            decimal(row.b),
            signed(row.difference),
            f"[{signed(row.low)}, {signed(row.high)}]",
            p_value(row.p),
            f"**{row.outcome}**" if row.significant else row.outcome,
        ]
        for row in ordered
    ]
    return f"## {escape_markdown(figure)}\n\n{markdown_table([escape_markdown(text) for text in header], lines)}"


def comparison_markdown(
    rows: Sequence[ComparisonRow], *, a_name: str = "A", b_name: str = "B", warnings: Sequence[str] = ()
) -> str:
    """Return what changed from one run to another: a verdict in one line, then a table for each figure.

    Args:
        rows: in any order; the figure of the first one decides the verdict. In the tables the macro average comes
            first, then the sources, from the largest gain to the largest loss.
        a_name: what to call the first run.
        b_name: what to call the second run.
        warnings: why the runs may not be comparable, see `setup_differences`.
    """
    if not rows:
        return "The runs have no figure in common: nothing can be compared.\n"
    blocks = [f"**{escape_markdown(verdict(rows, a_name, b_name))}**"]
    if warnings:
        listed = "\n".join(f"- {escape_markdown(text)}" for text in warnings)
        blocks.append(f"The runs were not made alike, so their figures may not be comparable:\n\n{listed}")
    blocks += [
        _figure_table(figure, [row for row in rows if row.figure == figure], a_name, b_name)
        for figure in dict.fromkeys(row.figure for row in rows)
    ]
    blocks.append("Significant means that the interval of the difference excludes zero.")
    return "\n\n".join(blocks) + "\n"
