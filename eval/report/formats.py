"""The tables of text that is not prose: gold lines that are kept, and whether what is kept still reads."""

from __future__ import annotations

from secateur.eval.metrics import LINE_DROPS
from secateur.eval.report.content import (
    ABSENT,
    MACRO,
    Json,
    Section,
    Strong,
    Table,
    averages,
    decimal,
    figure,
    first_system,
    number,
    scope,
    source_names,
    whole,
)
from secateur.eval.structure import CHECKS

_LINES = (
    "Recall of gold lines is the share of a query's gold lines among its best lines, when at least this share of the "
    "lines of all its passages is dropped. Blank lines do not count. A random order is the mean of several."
)
_STRUCTURE = (
    "Units that the default options keep for their own sake, and the share of them that comes with what they need, "
    "by rule. Plain text is left out."
)


def _recall(share: float) -> str:
    return f"line_recall.{share:.2f}"


def _baseline(metrics: Json, name: str, one: str) -> Json:
    own = metrics["line_baselines"][name]
    if one == MACRO:
        found: Json = own["macro"]
    else:
        found = (own["groups"] | own["sources"]).get(one.removeprefix(f"{MACRO} "), {})
    return found


def lines_section(metrics: Json) -> Section | None:
    """Return the recall of gold lines; None where no source is text by line."""
    if not metrics.get("line_baselines"):
        return None
    systems, first = list(metrics["systems"]), first_system(metrics)
    others = [name for name in metrics["line_baselines"] if name not in systems]
    names = [
        one
        for one in [*source_names(metrics), *averages(metrics)]
        if number(scope(metrics, first, one), _recall(LINE_DROPS[0])) is not None
    ]

    def found(system: str, one: str) -> Json:
        return scope(metrics, system, one) if system in systems else _baseline(metrics, system, one)

    header = [f"{share:.0%} dropped" for share in LINE_DROPS]
    overall = [
        [name, *(figure(found(name, MACRO), _recall(share)) for share in LINE_DROPS)] for name in systems + others
    ]
    shown = [first, *(name for name in metrics["line_baselines"] if name != first)]
    rows = [
        [
            Strong(one) if one in averages(metrics) else one,
            *(decimal(number(found(name, one), _recall(share))) for share in LINE_DROPS for name in shown),
        ]
        for one in names
    ]
    columns = [f"{name}, {share:.0%}" for share in LINE_DROPS for name in shown]
    tables = [
        Table("Macro average over sources by line", ["system", *header], overall),
        Table("By source, with the share of lines that is dropped", ["source", *columns], rows),
    ]
    return Section("lines", "Gold lines", _LINES, tables=tables)


def structure_section(metrics: Json) -> Section | None:
    """Return how much of what the first system keeps still reads; None where all sources are plain text."""
    counts = metrics.get("structure", {}).get(first_system(metrics))
    if not counts:
        return None
    groups = metrics.get("groups") or {"": list(counts)}
    rows = []
    for group, names in groups.items():
        for check, what in {**CHECKS, "characters": "characters kept, of all"}.items():
            found = [counts[name][check] for name in names if check in counts.get(name, {})]
            if found:
                total, alone, with_structure = map(sum, zip(*found, strict=True))
                shares = (decimal(kept / total) if total else ABSENT for kept in (alone, with_structure))
                rows.append([*([group] if group else []), what, whole(total), *shares])
    header = ["what", "count", "without keep_structure", "with it"]
    header = ["group", *header] if metrics.get("groups") else header
    return Section("structure", "What is kept still reads", _STRUCTURE, tables=[Table("", header, rows)])
