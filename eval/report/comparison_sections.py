"""The section on comparisons: where the first system beats the others, and plainly where it does not."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.eval.report.content import Cell, Section, Table, p_value, signed_with_interval, text_row
from secateur.eval.report.values import MACRO, Difference, Json, differences, first_system

_HOW = (
    "Paired bootstrap over the queries that both systems scored: each difference is the first system minus the other, "
    "in brackets its 95% interval. What is not significant may be chance."
)


def _listed(found: Sequence[Difference]) -> str:
    worst_first = sorted(found, key=lambda d: (d.difference, d.scope))
    return ", ".join(f"`{d.scope}` ({signed_with_interval(d.difference, d.interval)})" for d in worst_first)


def _outcome(difference: Difference) -> str:
    if difference.wins:
        return "significantly better"
    return "significantly worse" if difference.loses else "no significant difference"


def sources_sentence(first: str, other: str, figure: str, found: Sequence[Difference]) -> str:
    """Say on which sources the first system beats another and on which it does not.

    Args:
        first: the system that the run is about.
        other: the system that it is compared with.
        figure: what is compared.
        found: their comparisons on single sources in this figure, at least one.
    """
    wins = [d for d in found if d.wins]
    subject = f"`{first}` against `{other}`, {figure}:"
    if len(wins) == len(found):
        return f"{subject} significantly better on every source compared ({len(found)})."
    losses = [d for d in found if d.loses]
    open_cases = [d for d in found if not d.significant or d.difference == 0]
    parts = [f"{subject} significantly better on {len(wins)} of {len(found)} sources compared."]
    if open_cases:
        parts.append(f"It does NOT beat `{other}` significantly on {_listed(open_cases)}.")
    if losses:
        parts.append(f"It is significantly WORSE on {_listed(losses)}.")
    return " ".join(parts)


def comparisons_section(metrics: Json) -> Section | None:
    """Return the comparisons of the first system with the others; None where the run holds none."""
    first, found = first_system(metrics), differences(metrics)
    if not found:
        return None
    bullets = []
    pairs = dict.fromkeys((d.figure, d.other) for d in found)
    for figure, other in pairs:
        by_source = [d for d in found if (d.figure, d.other) == (figure, other) and d.scope != MACRO]
        if by_source:
            bullets.append(sources_sentence(first, other, figure, by_source))
    rows = [
        (
            *text_row(d.other, d.figure, signed_with_interval(d.difference, d.interval), p_value(d.p)),
            Cell(_outcome(d), strong=not d.wins),
        )
        for d in found
        if d.scope == MACRO
    ]
    header = ("against", "figure", "difference", "p", f"{first} is")
    tables = (Table("Macro average over sources", header, tuple(rows)),) if rows else ()
    return Section("comparisons", f"Where {first} wins and where not", (_HOW,), tuple(bullets), tables)
