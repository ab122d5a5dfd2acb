"""Sections beside quality: set-up, needle in a haystack, robustness, skipped examples."""

from __future__ import annotations

from secateur.eval.report.content import (
    ABSENT,
    Cell,
    Section,
    Table,
    decimal,
    signed_with_interval,
    text_row,
    whole,
    with_interval,
)
from secateur.eval.report.values import Json, as_interval, finite, lookup, number

_ROBUSTNESS_FIGURES = ("area", "mrr", "retention", "compression", "kept_share")


def _setting(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def setup_section(metrics: Json) -> Section:
    """Return how the run was made."""
    settings = {"secateur": metrics.get("secateur", ABSENT), **(metrics.get("setup") or {})}
    rows = tuple(text_row(name, _setting(value)) for name, value in settings.items())
    return Section("setup", "Set-up", tables=(Table("", ("setting", "value"), rows),))


def _grid_table(system: str, grid: Json) -> Table:
    positions, lengths = grid["positions"], grid["lengths"]
    rows = tuple(
        text_row(whole(finite(length)), *(decimal(finite(share), 2) for share in shares))
        for length, shares in zip(lengths, grid["found"], strict=True)
    )
    header = ("passage length in units", *(f"at {decimal(finite(position), 2)}" for position in positions))
    return Table(f"{system}: share of needles found by position in the passage and length of the passage", header, rows)


def needle_section(metrics: Json) -> Section | None:
    """Return the needle-in-a-haystack results; None where it was not run."""
    systems = lookup(metrics, "needle.systems")
    if not systems:
        return None
    rows = [
        text_row(
            name,
            needles,
            whole(number(result, "passages")),
            with_interval(number(result, "found"), as_interval(result.get("interval"))),
            decimal(number(result, "extra_units"), 2),
        )
        for name, system in systems.items()
        for needles, result in (system.get("needles") or {}).items()
    ]
    tables = [Table("", ("system", "needles", "passages", "found", "extra units kept"), tuple(rows))] if rows else []
    name, system = next(iter(systems.items()))
    if system.get("grid"):
        tables.append(_grid_table(name, system["grid"]))
    lead = "Answering units are hidden among unrelated ones: found is the share of needles kept, extra what else is."
    return Section("needle", "Needle in a haystack", (lead,), tables=tuple(tables))


def _robustness_table(system: str, variants: Json, about: Json) -> Table:
    figures = [name for name in _ROBUSTNESS_FIGURES if any(number(v, name) is not None for v in variants.values())]
    rows = []
    for variant, result in variants.items():
        change = number(result, "area_difference.difference")
        around = as_interval(lookup(result, "area_difference.interval"))
        text = ABSENT if change is None else signed_with_interval(change, around)
        worse = change is not None and change < 0 and around is not None and around.excludes_zero()
        values = text_row(*(decimal(number(result, name)) for name in figures))
        rows.append((Cell(variant), *values, Cell(text, strong=worse), Cell(str(about.get(variant) or ""))))
    header = ("variant", *(name.replace("_", " ") for name in figures), "change of area", "what it is")
    return Table(system, header, tuple(rows))


def robustness_section(metrics: Json) -> Section | None:
    """Return how the systems stand changed inputs; None where that was not run."""
    systems = lookup(metrics, "robustness.systems")
    if not systems:
        return None
    about = lookup(metrics, "robustness.about") or {}
    tables = tuple(_robustness_table(name, variants, about) for name, variants in systems.items() if variants)
    lead = "The same examples, changed; a change of area that stands out is a significant loss."
    return Section("robustness", "Robustness", (lead,), tables=tables)


def skipped_section(metrics: Json) -> Section | None:
    """Return what was left out of the figures and why; None where nothing was."""
    skipped = metrics.get("skipped") or {}
    rows = tuple(
        text_row(source, reason, whole(finite(count)))
        for source, reasons in skipped.items()
        for reason, count in (reasons or {}).items()
    )
    if not rows:
        return None
    lead = "Examples that could not be used and are in no figure above."
    return Section("skipped", "Skipped", (lead,), tables=(Table("", ("source", "reason", "count"), rows),))
