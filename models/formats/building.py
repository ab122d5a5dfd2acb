"""Building units that tile a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from secateur.models.types import Unit, UnitKind

LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n|\Z)")


class UnitBuilder:
    """Units of a text, added from its start to its end, so that they tile it.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.units: list[Unit] = []
        self.chained: dict[int, int] = {}  # number of sentences that a unit needs before it, one through the other

    def __len__(self) -> int:
        return len(self.units)

    @property
    def end(self) -> int:
        """Where the last unit ends and the next one begins."""
        return self.units[-1].end if self.units else 0

    def add(
        self, end: int, kind: UnitKind, needs: Sequence[int] = (), hidden: Iterable[tuple[int, int]] = ()
    ) -> tuple[int, ...]:
        """Add a unit up to ``end``; nothing if the last one ends there.

        White space alone extends the last unit.

        Args:
            end: End of the unit.
            kind: Kind of the unit.
            needs: Units that are kept together with this one.
            hidden: Spans that the network does not read.

        Returns:
            The index of the unit that now ends at ``end``; nothing for the empty text.
        """
        units = self.units
        start = units[-1].end if units else 0
        if end > start:
            if units and self.text[start:end].isspace():
                self.extend(end)
            else:
                units.append(Unit(start, end, kind, tuple(needs), tuple(hidden)))
        return (len(units) - 1,) if units else ()

    def extend(self, end: int, hidden: Iterable[tuple[int, int]] = ()) -> None:
        """Move the end of the last unit, and hide more of it."""
        last = self.units[-1]
        self.units[-1] = Unit(last.start, end, last.kind, last.needs, (*last.hidden, *hidden))

    def hide(self, index: int, hidden: Iterable[tuple[int, int]]) -> None:
        """Set the hidden spans of a unit."""
        unit = self.units[index]
        self.units[index] = Unit(unit.start, unit.end, unit.kind, unit.needs, tuple(hidden))

    def also_need(self, units: Iterable[int], needed: Sequence[int]) -> None:
        """Make units need others as well, such as a closing line that comes after them."""
        for index in units:
            unit = self.units[index]
            more = [other for other in needed if other != index]
            self.units[index] = Unit(unit.start, unit.end, unit.kind, (*unit.needs, *more), unit.hidden)


def lines_of(text: str, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the spans of a text's lines, line breaks included."""
    stop = len(text) if stop is None else stop
    while start < stop:
        match = LINE.match(text, start, stop)
        assert match is not None
        yield start, match.end()
        start = match.end()
