"""Reading a run's metrics: dotted names, absent figures, and comparisons seen from the first system."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

MACRO = "macro"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end, in the unit of the figure.
        high: upper end.
    """

    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the first system is ahead of another one.

    Attributes:
        other: the other system.
        figure: name of the figure, better when higher.
        scope: ``macro`` or a source.
        difference: first system minus the other.
        interval: of the difference; None where the run gives none.
        p: of no difference; None where the run gives none.
        significant: whether the difference is taken for real.
    """

    other: str
    figure: str
    scope: str
    difference: float
    interval: Interval | None
    p: float | None
    significant: bool

    @property
    def wins(self) -> bool:
        """Whether the first system is significantly better."""
        return self.significant and self.difference > 0

    @property
    def loses(self) -> bool:
        """Whether the first system is significantly worse."""
        return self.significant and self.difference < 0


def finite(value: object) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def lookup(figures: object, name: str) -> Any:
    """Return what stands under a dotted name, None where nothing does.

    Args:
        figures: nested mappings; anything else holds nothing.
        name: e.g. ``default.retention`` or ``compression_at_retention.0.95``, whose last key has a dot itself.
    """
    if not isinstance(figures, Mapping):
        return None
    if name in figures:
        return figures[name]
    head, _, rest = name.partition(".")
    return lookup(figures.get(head), rest) if rest else None


def number(figures: object, name: str) -> float | None:
    """Return the finite number under a dotted name, or None."""
    return finite(lookup(figures, name))


def as_interval(pair: object) -> Interval | None:
    """Return ``[low, high]`` as an interval, None where it is not two finite numbers."""
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    low, high = finite(pair[0]), finite(pair[1])
    return None if low is None or high is None else Interval(low, high)


def interval(figures: object, name: str) -> Interval | None:
    """Return the interval of the figure with a dotted name, or None."""
    intervals = lookup(figures, "intervals")
    return as_interval(intervals.get(name)) if isinstance(intervals, Mapping) else None


def first_system(metrics: Json) -> str:
    """Return the name of the system that the run is about."""
    return str(next(iter(metrics["systems"])))


def macro(metrics: Json, system: str) -> Json:
    """Return a system's macro-averaged figures, empty where there are none."""
    return metrics["systems"][system].get(MACRO) or {}


def source(metrics: Json, system: str, name: str) -> Json:
    """Return a system's figures on a source, empty where there are none."""
    return (metrics["systems"][system].get("sources") or {}).get(name) or {}


def source_names(metrics: Json) -> list[str]:
    """Return the sources of all systems, in the order of their first appearance."""
    names: dict[str, None] = {}
    for system in metrics["systems"].values():
        names.update(dict.fromkeys(system.get("sources") or {}))
    return list(names)


def differences(metrics: Json) -> list[Difference]:
    """Return the comparisons that the first system takes part in, each seen from it."""
    first = first_system(metrics)
    found = []
    for row in metrics.get("comparisons") or ():
        value = number(row, "difference")
        if value is None or first not in (row.get("a"), row.get("b")):
            continue
        pair = as_interval(row.get("interval"))
        other = row["b"]
        if row["a"] != first:
            other, value = row["a"], -value
            pair = Interval(-pair.high, -pair.low) if pair else None
        significant = row.get("significant")
        if not isinstance(significant, bool):
            significant = pair is not None and pair.excludes_zero()
        p = number(row, "p")
        found.append(Difference(str(other), str(row["figure"]), str(row["scope"]), value, pair, p, significant))
    return found
