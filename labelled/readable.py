"""What of a unit can be read: all of it but markup and hidden spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secateur.models.types import Unit


def _readable_spans(unit: Unit) -> Iterator[tuple[int, int]]:
    start = unit.start
    for hidden, end in unit.hidden:
        yield start, hidden
        start = end
    yield start, unit.end


def readable_text(text: str, unit: Unit) -> str:
    """Return what the network reads of a unit of a text, without outer white space."""
    return " ".join(text[start:end] for start, end in _readable_spans(unit)).strip()


def is_scored(text: str, unit: Unit) -> bool:
    """Return whether a unit can be kept by its score: neither markup nor hidden as a whole."""
    return unit.kind != "markup" and (not unit.hidden or bool(readable_text(text, unit)))


def overlapping(text: str, units: Sequence[Unit], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Return for each unit of a text whether a span covers some of what can be read of it."""

    def overlaps(unit: Unit, start: int, end: int) -> bool:
        if unit.start >= end or unit.end <= start:
            return False
        parts = ((max(first, start), min(last, end)) for first, last in _readable_spans(unit))
        return not unit.hidden or any(text[first:last].strip() for first, last in parts)

    return [unit.kind != "markup" and any(overlaps(unit, *span) for span in spans) for unit in units]
