"""The sections of a run's report, and the tables that the project's documents show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secateur.eval.report.content import (
    ABSENT,
    MACRO,
    Comparison,
    Json,
    Section,
    Strong,
    Table,
    averages,
    change,
    comparisons,
    decimal,
    difference,
    figure,
    first_system,
    number,
    p_value,
    scope,
    source_names,
    whole,
    with_interval,
)
from secateur.eval.report.formats import lines_section, structure_section

_NOT_BETTER, _WORSE, _UNSEEN = "†", "‡", "°"

_LEVEL = "compression_at_retention."
_COMPRESSION_AT = {"compr. at 0.90": f"{_LEVEL}0.90", "at 0.95": f"{_LEVEL}0.95", "at 0.98": f"{_LEVEL}0.98"}
_OVERALL = {"area": "area", "MRR": "mrr", "nDCG@10": "ndcg@10", "MRR@10": "mrr@10", "recall@5": "recall@5"}
_OVERALL |= {**_COMPRESSION_AT, "at 0.99": f"{_LEVEL}0.99"}
_QUALITY = {"area": "area", "MRR": "mrr", **_COMPRESSION_AT}
_QUALITY |= {"retention*": "default.retention", "compression*": "default.compression"}
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
_NEEDLE = "An invented fact of one or two sentences is hidden in a passage. It is found when all of it is kept."
_ROBUSTNESS = "The same examples, changed by rule. A bold change of area is a significant loss."


def _label(name: str) -> str:
    return Strong(name) if name == MACRO or name.startswith(f"{MACRO} ") else name


def _figures(
    overall: str, decided: str, names: str, rows: Sequence[tuple[str, Json]], sizes: Sequence[str] = ()
) -> list[Table]:
    """Return two tables of the figures that at least one row has: those at any threshold, and those at the default."""
    tables = []
    at_threshold = [(name, figures) for name, figures in rows if figures.get("default")]
    for caption, own, columns, counts in (
        (overall, rows, _OVERALL, sizes),
        (decided, at_threshold, _AT_THRESHOLD, ()),
    ):
        used = {title: name for title, name in columns.items() if any(number(row, name) is not None for _, row in own)}
        cells = [
            [_label(label), *(whole(row.get(size)) for size in counts), *(figure(row, name) for name in used.values())]
            for label, row in own
        ]
        tables.append(Table(caption, [names, *counts, *used], cells))
    return tables if at_threshold else tables[:1]


def _systems(metrics: Json) -> Section:
    runs = []
    for name, system in metrics["systems"].items():
        about = [system["about"].get(key) or ABSENT for key in ("what", "weights", "backend")]
        runs.append([name, *about, decimal(system["threshold"]), decimal(system["seconds"], 1)])
    rows = [(name, scope(metrics, name, MACRO)) for name in metrics["systems"]]
    caption = "At each system's own threshold, macro average over sources"
    tables = [
        Table("What ran", ["system", "what it is", "weights", "backend", "threshold", "seconds"], runs),
        *_figures("Macro average over sources", caption, "system", rows),
    ]
    return Section("systems", "Systems", _READING, tables=tables)


def _sources_sentence(subject: str, found: Sequence[Comparison]) -> str:
    """Say on which sources the first system is better than another and on which it is not."""

    def listed(outcome: str) -> str:
        chosen = sorted((one for one in found if one.found.outcome == outcome), key=lambda c: c.found.difference)
        return ", ".join(f"`{one.scope}` ({change(one.found)})" for one in chosen)

    wins = sum(one.found.outcome == "better" for one in found)
    if wins == len(found):
        return f"{subject} significantly better on all {len(found)} sources."
    parts = [f"{subject} significantly better on {wins} of {len(found)} sources."]
    if unclear := listed("no significant change"):
        parts.append(f"No significant difference on {unclear}.")
    if losses := listed("worse"):
        parts.append(f"Significantly WORSE on {losses}.")
    return " ".join(parts)


def _comparisons(metrics: Json) -> Section:
    first = first_system(metrics)
    by_source: dict[tuple[str, str], list[Comparison]] = {}
    cells = []
    for one in comparisons(metrics):
        if one.scope not in averages(metrics):
            by_source.setdefault((one.figure, one.other), []).append(one)
            continue
        outcome = f"significantly {one.found.outcome}" if one.found.significant else "no significant difference"
        marked = outcome if one.found.outcome == "better" else Strong(outcome)
        name = ", ".join([one.figure, *one.scope.split()[1:]])
        cells.append([one.other, name, change(one.found), p_value(one.found.p), marked])
    bullets = [_sources_sentence(f"`{first}` against `{b}`, {name}:", rows) for (name, b), rows in by_source.items()]
    table = Table("Macro average over sources", ["against", "figure", "difference", "p", f"{first} is"], cells)
    return Section("comparisons", f"{first} against the others", _PAIRED, bullets, [table])


def _by_source(metrics: Json) -> Section:
    systems = list(metrics["systems"])
    outcomes = {(one.other, one.scope): one.found.outcome for one in comparisons(metrics) if one.figure == "area"}
    marks = {"worse": _WORSE, "no significant change": _NOT_BETTER}
    rows = []
    for name in [*source_names(metrics), *averages(metrics)]:
        areas = {system: number(scope(metrics, system, name), "area") for system in systems}
        best = max((area for area in areas.values() if area is not None), default=None)
        cells = [_label(name)]
        for system, area in areas.items():
            cell = decimal(area) + marks.get(outcomes.get((system, name), ""), "")
            cells.append(Strong(cell) if area is not None and area == best else cell)
        rows.append(cells)
    notes = ["The best of each row is bold. A source without a relevant passage has no area."]
    if outcomes:
        first = first_system(metrics)
        notes.append(f"{_NOT_BETTER} `{first}` is not significantly better than this system; {_WORSE} it is worse.")
    return Section("by-source", "Area by source", tables=[Table("", ["source", *systems], rows)], notes=notes)


def _first_system(metrics: Json) -> Section:
    first = first_system(metrics)
    rows = [(name, scope(metrics, first, name)) for name in [*source_names(metrics), *averages(metrics)]]
    decided = f"At the threshold {decimal(metrics['systems'][first]['threshold'])}"
    overall = "At any threshold, and as a reranker"
    tables = _figures(overall, decided, "source", rows, ("queries", "passages"))
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


def _needle_grids(metrics: Json) -> Iterator[Table]:
    """Yield the share of needles that the first system found by length and position, if it has a threshold."""
    for name, system in list(metrics["needle"]["systems"].items())[:1]:
        grid = system["grid"]
        rows = [
            [whole(length), *(decimal(share, 2) for share in shares)]
            for length, shares in zip(grid["lengths"], grid["found"], strict=True)
        ]
        header = ["passage length in units", *(f"at {decimal(position, 2)}" for position in grid["positions"])]
        yield Table(f"{name}: share of needles found by length of the passage and position in it", header, rows)


def robustness_table(metrics: Json) -> Table | None:
    """Return the figures of the first system on every variant of the data; None where the test was not run."""
    robustness = metrics.get("robustness")
    if not robustness:
        return None
    rows = []
    for variant, row in robustness["systems"][first_system(metrics)].items():
        moved = ABSENT
        if variant != "plain" and row.get("area_difference"):
            found = difference(row["area_difference"])
            moved = Strong(change(found)) if found.outcome == "worse" else change(found)
        figures = [decimal(row.get(name)) for name in ("area", "mrr", "retention", "kept_share")]
        rows.append([variant, robustness["about"][variant], *figures, moved])
    header = ["variant", "what changes", "area", "MRR", "retention*", "kept share*", "change of area"]
    return Table(f"{robustness['queries']} queries; * at the default threshold", header, rows)


def report_sections(metrics: Json) -> Iterator[Section]:
    """Yield the sections of a report in order, without those that the run has nothing for."""
    yield _systems(metrics)
    if metrics["comparisons"]:
        yield _comparisons(metrics)
    yield _by_source(metrics)
    yield _first_system(metrics)
    yield from filter(None, (lines_section(metrics), structure_section(metrics)))
    if table := needle_table(metrics):
        yield Section("needle", "Needle test", _NEEDLE, tables=[table, *_needle_grids(metrics)])
    if table := robustness_table(metrics):
        yield Section("robustness", "Robustness", _ROBUSTNESS, tables=[table])
    rows = [[name, why, whole(count)] for name, reasons in metrics["skipped"].items() for why, count in reasons.items()]
    if rows:
        skipped = Table("", ["source", "reason", "count"], rows)
        yield Section("skipped", "Skipped", "Examples that could not be used, or only in part.", tables=[skipped])
    shown = {None: "none", True: "yes", False: "no"}
    rows = [[name, str(shown.get(value, value))] for name, value in metrics["setup"].items()]
    yield Section("setup", "Setup", tables=[Table("", ["setting", "value"], rows)])


def quality_table(metrics: Json) -> Table:
    """Return the main figures of the first system by source; sources unseen in training are marked."""
    first = first_system(metrics)
    system = metrics["systems"][first]
    trained_on = system["trained_on"]
    rows = []
    for name in [*source_names(metrics), *averages(metrics)]:
        figures = scope(metrics, first, name)
        unseen = _UNSEEN if trained_on and name not in averages(metrics) and name not in trained_on else ""
        cells = (decimal(number(figures, at)) for at in _QUALITY.values())
        rows.append([_label(name + unseen), str(figures["queries"]), *cells])
    about = system["about"]
    caption = f"{about.get('weights', first)} on {about.get('backend', first)}; * at the default threshold"
    if trained_on:
        caption += f"; {_UNSEEN} unseen source"
    return Table(caption, ["source", "queries", *_QUALITY], rows)


def systems_table(metrics: Json) -> Table:
    """Return the macro averages of all systems, and how the first differs from each."""
    first = first_system(metrics)
    found = [one for one in comparisons(metrics) if one.figure == "area"]
    gains = {one.other: change(one.found) for one in found if one.scope == MACRO}
    rows = []
    for name, system in metrics["systems"].items():
        sources = [c for c in found if c.other == name and c.scope not in averages(metrics)]
        short = [c.scope for c in sources if c.found.outcome != "better"]
        cells = [name, *(system["about"].get(key) or ABSENT for key in ("what", "weights"))]
        cells += [figure(scope(metrics, name, MACRO), one) for one in ("area", "mrr")]
        rows.append([*cells, gains.get(name, ABSENT), ABSENT if name == first else ", ".join(short) or "none"])
    header = ["system", "what it is", "weights", "area", "MRR", f"{first}'s gain in area"]
    queries = metrics["systems"][first]["macro"]["queries"]
    caption = f"{queries} queries; brackets are 95% bootstrap intervals over queries, paired for gains"
    return Table(caption, [*header, "sources where the gain is not significant"], rows)
