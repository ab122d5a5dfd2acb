"""Sections on quality: all systems, all systems by source, and the first system in full."""

from __future__ import annotations

from secateur.eval.report.content import ABSENT, Cell, Section, Table, decimal, figure_cell, text_row, whole
from secateur.eval.report.values import (
    MACRO,
    Difference,
    Json,
    differences,
    finite,
    first_system,
    macro,
    number,
    source,
    source_names,
)

NOT_BETTER, WORSE = "†", "‡"

_OVERALL = (
    ("area", "area"),
    ("MRR", "mrr"),
    ("nDCG@10", "ndcg@10"),
    ("MRR@10", "mrr@10"),
    ("recall@5", "recall@5"),
    ("compr. at 0.90", "compression_at_retention.0.90"),
    ("at 0.95", "compression_at_retention.0.95"),
    ("at 0.98", "compression_at_retention.0.98"),
    ("at 0.99", "compression_at_retention.0.99"),
)
_AT_THRESHOLD = (
    ("retention", "default.retention"),
    ("compression", "default.compression"),
    ("of tokens", "default.compression_tokens"),
    ("of relevant passages", "default.compression_relevant"),
    ("of irrelevant ones", "default.compression_irrelevant"),
    ("precision", "default.precision"),
    ("recall", "default.recall"),
    ("F1", "default.f1"),
    ("F2", "default.f2"),
    ("count agreement", "default.count_agreement"),
)
_READING = (
    "Area is the mean, over retention levels 0.50 to 1.00, of the best compression that still reaches the level; "
    "retention is the share of relevant passages of which every answering unit is kept, compression the share of "
    "characters dropped. Brackets are 95% bootstrap intervals over queries. Every figure is better when higher."
)


def _figures_table(
    caption: str, name: str, rows: list[tuple[str, Json]], columns: tuple[tuple[str, str], ...], sizes: bool
) -> Table:
    """Return a table of those figures of which at least one row has a value."""
    used = [(title, figure) for title, figure in columns if any(number(f, figure) is not None for _, f in rows)]
    counts = [(size, size) for size in ("queries", "passages") if sizes]
    return Table(
        caption,
        (name, *(title for title, _ in (*counts, *used))),
        tuple(
            (
                Cell(label, strong=label == MACRO),
                *(Cell(whole(number(figures, size))) for _, size in counts),
                *(figure_cell(figures, figure) for _, figure in used),
            )
            for label, figures in rows
        ),
    )


def systems_section(metrics: Json) -> Section:
    """Return all systems' macro-averaged figures."""
    rows = [(system, macro(metrics, system)) for system in metrics["systems"]]
    runs = []
    for name, system in metrics["systems"].items():
        about = system.get("about") or {}
        threshold, seconds = decimal(finite(system.get("threshold"))), decimal(finite(system.get("seconds")), 1)
        runs.append(text_row(name, about.get("model") or ABSENT, about.get("backend") or ABSENT, threshold, seconds))
    tables = [
        Table("What ran", ("system", "model", "backend", "threshold", "seconds"), tuple(runs)),
        _figures_table("Macro average over sources", "system", rows, _OVERALL, sizes=True),
    ]
    decided = [(system, figures) for system, figures in rows if figures.get("default")]
    if decided:
        caption = "At each system's own threshold, macro average over sources"
        tables.append(_figures_table(caption, "system", decided, _AT_THRESHOLD, sizes=False))
    return Section("systems", "Systems", lead=(_READING,), tables=tuple(tables))


def _mark(found: dict[tuple[str, str], Difference], system: str, scope: str) -> str:
    difference = found.get((system, scope))
    if difference is None or difference.wins:
        return ""
    return WORSE if difference.loses else NOT_BETTER


def by_source_section(metrics: Json) -> Section:
    """Return every system's area on every source."""
    first, systems = first_system(metrics), list(metrics["systems"])
    found = {(d.other, d.scope): d for d in differences(metrics) if d.figure == "area"}
    scopes = [(name, [source(metrics, system, name) for system in systems]) for name in source_names(metrics)]
    scopes.append((MACRO, [macro(metrics, system) for system in systems]))
    rows = []
    for name, figures in scopes:
        areas = [number(f, "area") for f in figures]
        best = max((area for area in areas if area is not None), default=None)
        cells = [
            Cell(
                decimal(area) + ("" if area is None else _mark(found, system, name)),
                strong=area is not None and area == best,
            )
            for system, area in zip(systems, areas, strict=True)
        ]
        rows.append((Cell(name, strong=name == MACRO), *cells))
    notes = ["The best of each row stands out. A source without a relevant passage has no area."]
    if found:
        notes.append(
            f"{NOT_BETTER} `{first}` is not significantly better than this system here; {WORSE} it is significantly "
            "worse."
        )
    table = Table("", ("source", *systems), tuple(rows))
    return Section("by-source", "Area by source", tables=(table,), notes=tuple(notes))


def first_system_section(metrics: Json) -> Section:
    """Return the first system's figures on every source."""
    first = first_system(metrics)
    rows = [(name, source(metrics, first, name)) for name in source_names(metrics)]
    rows = [(name, figures) for name, figures in rows if figures]
    rows.append((MACRO, macro(metrics, first)))
    tables = [_figures_table("At any threshold, and as a reranker", "source", rows, _OVERALL, sizes=True)]
    decided = [(name, figures) for name, figures in rows if figures.get("default")]
    if decided:
        threshold = decimal(finite(metrics["systems"][first].get("threshold")))
        tables.append(
            _figures_table(f"At the threshold {threshold}", "source", decided, _AT_THRESHOLD, sizes=False),
        )
    return Section("first-system", f"{first} by source", tables=tuple(tables))
