"""What a report is made of, before it is Markdown or HTML: sections, tables, and the figures of a run as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.eval.bootstrap import PairedDifference

Json = Mapping[str, Any]

MACRO = "macro"
ABSENT = "–"


class Strong(str):
    """The text of a cell that stands out."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption, which may be empty; the first column names the rows."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report, in the order of its fields. Texts are plain apart from `code`; the key is its anchor."""

    key: str
    title: str
    lead: str = ""
    bullets: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number as text, a dash for None."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    """Return a count as text, a dash for None."""
    return ABSENT if value is None else f"{value:,.0f}"


def p_value(p: float) -> str:
    """Return a p value as text; one that rounds to zero is not shown as zero."""
    return "<0.001" if p < 0.0005 else decimal(p)


def signed(value: float) -> str:
    """Return a difference with its sign; one that rounds to zero has no sign."""
    text = f"{value:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def with_interval(value: float | None, ends: Sequence[float] | None) -> str:
    """Return a figure and its interval, e.g. ``0.712 [0.690, 0.734]``; without brackets where there is no interval."""
    if value is None or ends is None:
        return decimal(value)
    return f"{decimal(value)} [{decimal(ends[0])}, {decimal(ends[1])}]"


def change(found: PairedDifference) -> str:
    """Return a difference and its interval, e.g. ``+0.120 [+0.098, +0.141]``."""
    return f"{signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"


def number(figures: Json, name: str) -> float | None:
    """Return a figure by name, e.g. ``area`` or ``default.retention``; None where there is none."""
    group, _, inner = name.partition(".")
    found: float | None = (figures.get(group) or {}).get(inner) if inner else figures.get(name)
    return found


def figure(figures: Json, name: str) -> str:
    """Return a figure by name as text, with its interval where there is one."""
    return with_interval(number(figures, name), figures.get("intervals", {}).get(name))


def first_system(metrics: Json) -> str:
    """Return the name of the system that the run is about."""
    return str(next(iter(metrics["systems"])))


def scope(metrics: Json, system: str, name: str) -> Json:
    """Return a system's figures on a source or, for ``macro`` and ``macro GROUP``, the average of all or of a group."""
    own = metrics["systems"][system]
    if name == MACRO:
        found: Json = own["macro"]
    elif name in averages(metrics):
        found = own["groups"][name.removeprefix(f"{MACRO} ")]
    else:
        found = own["sources"].get(name, {})
    return found


def source_names(metrics: Json) -> list[str]:
    """Return the sources of a run."""
    return list(metrics["systems"][first_system(metrics)]["sources"])


def averages(metrics: Json) -> list[str]:
    """Return the names of the averages: ``macro GROUP`` for each group, if there are several, and ``macro``."""
    return [*(f"{MACRO} {group}" for group in metrics.get("groups", {})), MACRO]


def difference(row: Json) -> PairedDifference:
    """Return the difference of a JSON object that `PairedDifference.as_json` made."""
    low, high = row["interval"]
    return PairedDifference(row["difference"], low, high, row["p"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first system compared with another by a figure, on a source or ``macro``: the first minus the other."""

    other: str
    figure: str
    scope: str
    found: PairedDifference


def comparisons(metrics: Json) -> list[Comparison]:
    """Return the comparisons of a run."""
    return [Comparison(row["b"], row["figure"], row["scope"], difference(row)) for row in metrics["comparisons"]]
