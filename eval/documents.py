"""The generated tables of the project's documents: each marked block that a document has is rewritten.

A run without titles has blocks of its own, so that a document may have both: `quality-untitled` beside `quality`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from secateur.eval.tables import markdown_table, rewrite_block
from secateur.models.errors import DataError

_Json = dict[str, Any]


def _first(metrics: _Json) -> str:
    name: str = next(iter(metrics["systems"]))
    return name


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _with_interval(figures: _Json, name: str) -> str:
    value, ends = figures.get(name), figures["intervals"].get(name)
    return _number(value) if value is None or ends is None else f"{value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"


def quality_table(metrics: _Json) -> str:
    """Return the first system's main figures by source."""
    name = _first(metrics)
    system = metrics["systems"][name]

    def row(label: str, figures: _Json) -> list[str]:
        at, default = figures.get("compression_at_retention", {}), figures.get("default", {})
        cells = [figures.get("area"), figures.get("mrr"), at.get("0.90"), at.get("0.95"), at.get("0.98")]
        cells += [default.get("retention"), default.get("compression")]
        return [label, str(figures["queries"]), *map(_number, cells)]

    header = ["source", "queries", "area", "MRR", "compr. at 0.90", "at 0.95", "at 0.98", "retention*", "compression*"]
    rows = [row(label, figures) for label, figures in system["sources"].items()]
    table = markdown_table(header, [*rows, row("**macro**", system["macro"])])
    about = system["about"]
    return f"{table}\n\n`{about.get('model', name)}` on {about.get('backend', name)}; * at the default threshold."


def systems_table(metrics: _Json) -> str:
    """Return the macro averages of all systems, and how the first differs from each."""
    first = _first(metrics)
    by_system = {(row["b"], row["figure"], row["scope"]): row for row in metrics["comparisons"]}
    rows = []
    for name, system in metrics["systems"].items():
        macro, against = system["macro"], by_system.get((name, "area", "macro"))
        gain = "" if against is None else f"{against['difference']:+.3f} [{against['interval'][0]:+.3f}, "
        gain += "" if against is None else f"{against['interval'][1]:+.3f}]"
        sources = [
            row
            for (other, figure, scope), row in by_system.items()
            if (other, figure) == (name, "area") and scope != "macro"
        ]
        short = [row["scope"] for row in sources if not (row["significant"] and row["difference"] > 0)]
        rows.append(
            [
                name,
                _with_interval(macro, "area"),
                _with_interval(macro, "mrr"),
                gain,
                "" if name == first else (", ".join(short) or "none"),
            ]
        )
    header = ["system", "area", "MRR", f"{first}'s gain in area", "sources where the gain is not significant"]
    queries = metrics["systems"][first]["macro"]["queries"]
    note = f"{queries} queries; brackets: 95% bootstrap intervals over queries, paired for gains."
    return f"{markdown_table(header, rows)}\n\n{note}"


def needle_table(metrics: _Json) -> str | None:
    """Return the needle test's shares; None where it was not run."""
    if not metrics.get("needle"):
        return None
    rows = []
    for name, system in metrics["needle"]["systems"].items():
        for sentences, row in system["needles"].items():
            low, high = row["interval"]
            found = f"{row['found']:.3f} [{low:.3f}, {high:.3f}]"
            rows.append([name, sentences, str(row["passages"]), found, f"{row['extra_units']:.2f}"])
    return markdown_table(["system", "sentences of the needle", "passages", "found", "other units kept"], rows)


def robustness_table(metrics: _Json) -> str | None:
    """Return the first system's figures on every variant; None where they were not measured."""
    if not metrics.get("robustness"):
        return None
    rows = []
    for variant, row in metrics["robustness"]["systems"][_first(metrics)].items():
        change = row.get("area_difference")
        ends = change["interval"] if change else None
        moved = "" if ends is None else f"{change['difference']:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"
        cells = [row.get(key) for key in ("area", "mrr", "retention", "kept_share")]
        rows.append([variant, *map(_number, cells), "" if variant == "plain" else moved])
    table = markdown_table(["variant", "area", "MRR", "retention*", "kept share*", "change of area"], rows)
    return f"{table}\n\n{metrics['robustness']['queries']} queries; * at the default threshold."


BLOCKS: dict[str, Callable[[_Json], str | None]] = {
    "quality": quality_table,
    "systems": systems_table,
    "needle": needle_table,
    "robustness": robustness_table,
}
"""Tables by the name of their block."""
_UNTITLED = "-untitled"


def update_document(target: str, metrics: _Json) -> None:
    """Rewrite the blocks of a document that this run has a table for.

    Args:
        target: ``PATH``, or ``PATH:BLOCK`` for one block alone.
        metrics: the content of the run's ``metrics.json``.

    Raises:
        DataError: the document cannot be read, or has no such block.
    """
    suffix = "" if metrics["setup"]["titles"] else _UNTITLED
    tables = {name + suffix: table for name, table in BLOCKS.items()}
    file, _, block = target.rpartition(":")
    if block.removesuffix(_UNTITLED) not in BLOCKS:
        file, block = target, ""
    if block and block not in tables:
        raise DataError(f"{target}: this run showed {'no titles' if suffix else 'titles'}; its blocks are {[*tables]}")
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    present = [block] if block else [known for known in tables if f"<!-- {known}:begin" in text]
    if not present:
        name = f"quality{suffix}"
        raise DataError(f"{path}: has no block to rewrite; it needs <!-- {name}:begin --> ... <!-- {name}:end -->")
    for known in present:
        table = tables[known](metrics)
        if table is not None:
            rewrite_block(path, known, table)
