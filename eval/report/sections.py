"""The sections of a run's report, and the tables that the project's documents show."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.eval.bootstrap import PairedDifference
from secateur.eval.report.content import (
    ABSENT,
    MACRO,
    Comparison,
    Json,
    Section,
    Strong,
    Table,
    change,
    comparisons,
    decimal,
    figure,
    first_system,
    number,
    p_value,
    scope,
    source_names,
    whole,
    with_interval,
)

NOT_BETTER, WORSE, UNSEEN = "†", "‡", "°"

_COMPRESSION_AT = {
    "compr. at 0.90": "compression_at_retention.0.90",
    "at 0.95": "compression_at_retention.0.95",
    "at 0.98": "compression_at_retention.0.98",
}
_OVERALL = {
    "area": "area",
    "MRR": "mrr",
    "nDCG@10": "ndcg@10",
    "MRR@10": "mrr@10",
    "recall@5": "recall@5",
    **_COMPRESSION_AT,
    "at 0.99": "compression_at_retention.0.99",
}
_AT_THRESHOLD = {
    "retention": "default.retention",
    "compression": "default.compression",
    "of tokens": "default.compression_tokens",
    "of relevant passages": "default.compression_relevant",
    "of irrelevant passages": "default.compression_irrelevant",
    "precision": "default.precision",
    "recall": "default.recall",
    "F1": "default.f1",
    "F2": "default.f2",
}
_READING = (
    "Area is the mean, over retention levels 0.50 to 1.00, of the best compression that still reaches the level. "
    "Retention is the share of relevant passages that keep every answering unit. Compression is the share of "
    "characters dropped. Brackets are 95% bootstrap intervals over queries. Higher is better for every figure."
)
_PAIRED = (
    "Paired bootstrap over the queries that both systems scored: the first system minus the other, with the 95% "
    "interval in brackets. A difference that is not significant may be chance."
)


def _label(name: str) -> str:
    return Strong(name) if name == MACRO else name


def _figures(caption: str, names: str, rows: Sequence[tuple[str, Json]], columns: dict[str, str]) -> Table:
    """Return a table of the figures that at least one row has."""
    used = {title: name for title, name in columns.items() if any(number(row, name) is not None for _, row in rows)}
    cells = [[_label(label), *(figure(row, name) for name in used.values())] for label, row in rows]
    return Table(caption, [names, *used], cells)


def systems_section(metrics: Json) -> Section:
    """Return the macro averages of all systems."""
    runs = []
    for name, system in metrics["systems"].items():
        about = system["about"]
        facts = [about.get("weights") or ABSENT, about.get("backend") or ABSENT]
        runs.append(
            [name, about.get("what") or ABSENT, *facts, decimal(system["threshold"]), decimal(system["seconds"], 1)]
        )
    rows = [(name, scope(metrics, name, MACRO)) for name in metrics["systems"]]
    decided = [(name, figures) for name, figures in rows if figures.get("default")]
    tables = [
        Table("What ran", ["system", "what it is", "weights", "backend", "threshold", "seconds"], runs),
        _figures("Macro average over sources", "system", rows, _OVERALL),
    ]
    if decided:
        caption = "At each system's own threshold, macro average over sources"
        tables.append(_figures(caption, "system", decided, _AT_THRESHOLD))
    return Section("systems", "Systems", _READING, tables=tables)


def _significant(found: PairedDifference) -> str:
    return f"significantly {found.outcome}" if found.significant else "no significant difference"


def sources_sentence(first: str, other: str, name: str, found: Sequence[Comparison]) -> str:
    """Say on which sources the first system is better than another and on which it is not.

    Args:
        first: System that the run is about.
        other: System that it is compared with.
        name: Figure that is compared.
        found: Comparisons of the two on single sources, at least one.
    """

    def listed(outcome: str) -> str:
        chosen = sorted((one for one in found if one.found.outcome == outcome), key=lambda c: c.found.difference)
        return ", ".join(f"`{one.scope}` ({change(one.found)})" for one in chosen)

    wins = sum(one.found.outcome == "better" for one in found)
    subject = f"`{first}` against `{other}`, {name}:"
    if wins == len(found):
        return f"{subject} significantly better on all {len(found)} sources."
    parts = [f"{subject} significantly better on {wins} of {len(found)} sources."]
    if unclear := listed("no significant change"):
        parts.append(f"No significant difference on {unclear}.")
    if losses := listed("worse"):
        parts.append(f"Significantly WORSE on {losses}.")
    return " ".join(parts)


def comparisons_section(metrics: Json) -> Section | None:
    """Return the comparisons of the first system with the others; None where there are none."""
    first, found = first_system(metrics), list(comparisons(metrics))
    if not found:
        return None
    by_source: dict[tuple[str, str], list[Comparison]] = {}
    for one in found:
        if one.scope != MACRO:
            by_source.setdefault((one.figure, one.other), []).append(one)
    bullets = [sources_sentence(first, other, name, rows) for (name, other), rows in by_source.items()]
    cells = []
    for one in (one for one in found if one.scope == MACRO):
        outcome = _significant(one.found)
        marked = outcome if one.found.outcome == "better" else Strong(outcome)
        cells.append([one.other, one.figure, change(one.found), p_value(one.found.p), marked])
    table = Table("Macro average over sources", ["against", "figure", "difference", "p", f"{first} is"], cells)
    return Section("comparisons", f"{first} against the others", _PAIRED, bullets, [table])


def by_source_section(metrics: Json) -> Section:
    """Return the area of every system on every source."""
    first, systems = first_system(metrics), list(metrics["systems"])
    outcomes = {(one.other, one.scope): one.found.outcome for one in comparisons(metrics) if one.figure == "area"}
    marks = {"worse": WORSE, "no significant change": NOT_BETTER}
    rows = []
    for name in [*source_names(metrics), MACRO]:
        areas = [number(scope(metrics, system, name), "area") for system in systems]
        best = max((area for area in areas if area is not None), default=None)
        cells = [
            decimal(area) + marks.get(outcomes.get((s, name), ""), "") for s, area in zip(systems, areas, strict=True)
        ]
        strong = [area is not None and area == best for area in areas]
        rows.append([_label(name), *(Strong(c) if s else c for c, s in zip(cells, strong, strict=True))])
    notes = ["The best of each row is bold. A source without a relevant passage has no area."]
    if outcomes:
        notes.append(f"{NOT_BETTER} `{first}` is not significantly better than this system; {WORSE} it is worse.")
    return Section("by-source", "Area by source", tables=[Table("", ["source", *systems], rows)], notes=notes)


def first_system_section(metrics: Json) -> Section:
    """Return the figures of the first system on every source."""
    first = first_system(metrics)
    rows = [(name, scope(metrics, first, name)) for name in [*source_names(metrics), MACRO]]
    sizes = {name: [whole(figures.get(size)) for size in ("queries", "passages")] for name, figures in rows}
    overall = _figures("At any threshold, and as a reranker", "source", rows, _OVERALL)
    header = [overall.header[0], "queries", "passages", *overall.header[1:]]
    tables = [Table(overall.caption, header, [[row[0], *sizes[row[0]], *row[1:]] for row in overall.rows])]
    decided = [(name, figures) for name, figures in rows if figures.get("default")]
    if decided:
        caption = f"At the threshold {decimal(metrics['systems'][first]['threshold'])}"
        tables.append(_figures(caption, "source", decided, _AT_THRESHOLD))
    return Section("first-system", f"{first} by source", tables=tables)


def needle_table(metrics: Json) -> Table | None:
    """Return the share of needles that each system found; None where the test was not run."""
    if not metrics.get("needle"):
        return None
    rows = [
        [name, sentences, whole(r["passages"]), with_interval(r["found"], r["interval"]), decimal(r["extra_units"], 2)]
        for name, system in metrics["needle"]["systems"].items()
        for sentences, r in system["needles"].items()
    ]
    return Table("", ["system", "sentences of the needle", "passages", "found", "other units kept"], rows)


def needle_section(metrics: Json) -> Section | None:
    """Return the needle test; None where it was not run."""
    table = needle_table(metrics)
    if table is None:
        return None
    tables = [table]
    for name, system in list(metrics["needle"]["systems"].items())[:1]:
        grid = system["grid"]
        rows = [
            [whole(length), *(decimal(share, 2) for share in shares)]
            for length, shares in zip(grid["lengths"], grid["found"], strict=True)
        ]
        header = ["passage length in units", *(f"at {decimal(position, 2)}" for position in grid["positions"])]
        caption = f"{name}: share of needles found by length of the passage and position in it"
        tables.append(Table(caption, header, rows))
    lead = "An invented fact of one or two sentences is hidden in a passage. It is found when all of it is kept."
    return Section("needle", "Needle test", lead, tables=tables)


def robustness_table(metrics: Json) -> Table | None:
    """Return the figures of the first system on every variant of the data; None where the test was not run."""
    if not metrics.get("robustness"):
        return None
    robustness = metrics["robustness"]
    rows = []
    for variant, row in robustness["systems"][first_system(metrics)].items():
        moved: str = ABSENT
        if (found := row.get("area_difference")) and variant != "plain":
            difference = PairedDifference.of_json(found)
            moved = Strong(change(difference)) if difference.outcome == "worse" else change(difference)
        figures = [decimal(row.get(name)) for name in ("area", "mrr", "retention", "kept_share")]
        rows.append([variant, robustness["about"][variant], *figures, moved])
    header = ["variant", "what changes", "area", "MRR", "retention*", "kept share*", "change of area"]
    return Table(f"{robustness['queries']} queries; * at the default threshold", header, rows)


def robustness_section(metrics: Json) -> Section | None:
    """Return the robustness test; None where it was not run."""
    lead = "The same examples, changed by rule. A bold change of area is a significant loss."
    table = robustness_table(metrics)
    return None if table is None else Section("robustness", "Robustness", lead, tables=[table])


def skipped_section(metrics: Json) -> Section | None:
    """Return which examples were skipped and why; None where none was."""
    rows = [
        [source, reason, whole(count)]
        for source, reasons in metrics["skipped"].items()
        for reason, count in reasons.items()
    ]
    lead = "Examples that could not be used, or only in part."
    table = Table("", ["source", "reason", "count"], rows)
    return Section("skipped", "Skipped", lead, tables=[table]) if rows else None


def setup_section(metrics: Json) -> Section:
    """Return the settings of the run."""
    shown = {None: "none", True: "yes", False: "no"}
    rows = [[name, str(shown.get(value, value))] for name, value in metrics["setup"].items()]
    return Section("setup", "Setup", tables=[Table("", ["setting", "value"], rows)])


def report_sections(metrics: Json) -> list[Section]:
    """Return the sections of a report in order, without those that the run has nothing for."""
    sections = (
        systems_section(metrics),
        comparisons_section(metrics),
        by_source_section(metrics),
        first_system_section(metrics),
        needle_section(metrics),
        robustness_section(metrics),
        skipped_section(metrics),
        setup_section(metrics),
    )
    return [section for section in sections if section is not None]


def quality_table(metrics: Json) -> Table:
    """Return the main figures of the first system by source; sources unseen in training are marked."""
    first = first_system(metrics)
    system = metrics["systems"][first]
    trained_on = system["trained_on"]
    columns = {"area": "area", "MRR": "mrr", **_COMPRESSION_AT}
    columns |= {"retention*": "default.retention", "compression*": "default.compression"}
    rows = []
    for name in [*source_names(metrics), MACRO]:
        figures = scope(metrics, first, name)
        unseen = UNSEEN if trained_on and name != MACRO and name not in trained_on else ""
        label = Strong(name) if name == MACRO else name + unseen
        rows.append([label, str(figures["queries"]), *(decimal(number(figures, at)) for at in columns.values())])
    about = system["about"]
    caption = f"{about.get('weights', first)} on {about.get('backend', first)}; * at the default threshold"
    if trained_on:
        caption += f"; {UNSEEN} source that training had nothing of"
    return Table(caption, ["source", "queries", *columns], rows)


def systems_table(metrics: Json) -> Table:
    """Return the macro averages of all systems, and how the first differs from each."""
    first = first_system(metrics)
    found = [one for one in comparisons(metrics) if one.figure == "area"]
    gains = {one.other: change(one.found) for one in found if one.scope == MACRO}
    rows = []
    for name, system in metrics["systems"].items():
        short = [c.scope for c in found if c.other == name and c.scope != MACRO and c.found.outcome != "better"]
        cells = [name, system["about"].get("what") or ABSENT, system["about"].get("weights") or ABSENT]
        cells += [figure(scope(metrics, name, MACRO), one) for one in ("area", "mrr")]
        rows.append([*cells, gains.get(name, ABSENT), ABSENT if name == first else ", ".join(short) or "none"])
    header = ["system", "what it is", "weights", "area", "MRR", f"{first}'s gain in area"]
    queries = metrics["systems"][first]["macro"]["queries"]
    caption = f"{queries} queries; brackets are 95% bootstrap intervals over queries, paired for gains"
    return Table(caption, [*header, "sources where the gain is not significant"], rows)
