"""The text of the kept units: spans of the passage, with a joiner or a marker in each gap."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from secateur.models.errors import InputError, shown
from secateur.models.options import PruneOptions
from secateur.models.types import Unit

BoolArray = NDArray[np.bool_]
Spans = tuple[tuple[int, int], ...]

_LINE_BREAK = re.compile(r"\r\n?|\n")
_BLANK_LINE = re.compile(r"(?:\A|\n|\r)[ \t>]*(?:\r\n?|\n)")
_MARGIN = re.compile(r"[ \t>]*")  # what stands before the text of a line of Markdown
_NUMBERED = re.compile(r"(?!0*1[.)])\d{1,9}[.)][ \t]")
_LIST_ITEM = re.compile(r"([ \t>]*)(?:[-*+]|\d{1,9}[.)])[ \t]")
_FIELD = re.compile(r"\{(\w+)\}")
GAP_FIELDS = ("lines", "units", "tokens", "characters", "first_line", "last_line")


def check_gap_marker(template: str) -> None:
    """Raise an InputError if a template has an unknown field in braces."""
    for name in _FIELD.findall(template):
        if name not in GAP_FIELDS:
            known = ", ".join(f"{{{field}}}" for field in GAP_FIELDS)
            raise InputError("gap_marker", f"{shown(template)} has the unknown field {{{name}}}", f"use {known}")


def _begins_line(text: str, start: int) -> int | None:
    """Return where the line of a position begins, if there is only white space before it; else None."""
    while start and text[start - 1] in " \t":
        start -= 1
    return start if not start or text[start - 1] in "\r\n" else None


def _begins_block(text: str, end: int, start: int) -> bool:
    """Return whether Markdown that starts here needs a blank line before it, to be no part of what ends there."""
    if _BLANK_LINE.search(text, end, start):
        return True
    # A number other than 1 begins no list in a paragraph.
    margin = len(_margin(text, start))
    if not _NUMBERED.match(text, start + margin):
        return False
    before = _LIST_ITEM.match(text, max(text.rfind("\n", 0, end), text.rfind("\r", 0, end)) + 1)
    return before is None or len(before[1]) < margin


def _margin(text: str, start: int) -> str:
    match = _MARGIN.match(text, start)
    return match[0] if match else ""


def separator(text: str, gap: tuple[int, int], joiner: str, format: str) -> str:
    """Return what stands between two spans: the joiner, with a line break before what begins a line in the passage.

    In all formats but text, any line break between them is one in the result, too; so is a blank line in Markdown,
    where it ends a block.
    """
    end, start = gap
    if "\n" in joiner:
        return joiner
    broken = _begins_line(text, start) is not None if format == "text" else _LINE_BREAK.search(text, end, start)
    if not broken:
        return joiner
    return joiner.rstrip(" ") + ("\n\n" if format == "markdown" and _begins_block(text, end, start) else "\n")


def _line_starts(text: str) -> list[int]:
    """Return where the lines of a text begin, but the first."""
    return [match.end() for match in _LINE_BREAK.finditer(text)]


def _lines(starts: Sequence[int], start: int, end: int) -> tuple[int, int]:
    return bisect_right(starts, start) + 1, bisect_left(starts, end) + 1


def line_spans(text: str, spans: Sequence[tuple[int, int]]) -> Spans:
    """Return the first and last line of each span, counted from 1."""
    starts = _line_starts(text)
    return tuple(_lines(starts, start, end) for start, end in spans)


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive kept units: the span without the white space around it, and the units ``[first, stop)``."""

    start: int
    end: int
    first: int
    stop: int


def _kept_runs(text: str, units: Sequence[Unit], kept: BoolArray) -> list[_Run]:
    """Return the runs of kept units that are not blank. The indentation of one that begins a line is part of it."""
    runs = []
    for keep, group in groupby(range(len(units)), key=kept.tolist().__getitem__):
        indexes = list(group)
        first, end = units[indexes[0]].start, units[indexes[-1]].end
        if keep and (piece := text[first:end]).strip():
            start = end - len(piece.lstrip())
            line = _begins_line(text, start)
            start = start if line is None else max(first, line)
            runs.append(_Run(start, first + len(piece.rstrip()), indexes[0], indexes[-1] + 1))
    return runs


class KeptText:
    """What is returned of a passage.

    Args:
        text: Text of the passage.
        units: Its units.
        unit_tokens: int32[units], number of tokens of each unit.
        kept: bool[units], whether each unit is kept.
        options: Options; those of joiner and gaps are used.
        format: Format by which the passage was cut.
    """

    def __init__(
        self,
        text: str,
        units: Sequence[Unit],
        unit_tokens: NDArray[np.int32],
        kept: BoolArray,
        options: PruneOptions,
        format: str = "text",
    ) -> None:
        self._text, self._units, self._unit_tokens, self._options = text, units, unit_tokens, options
        self._format = format
        self._runs = _kept_runs(text, units, kept)

    @property
    def spans(self) -> Spans:
        """Spans ``(start, end)`` of the kept text in the passage, ascending and non-overlapping."""
        return tuple((run.start, run.end) for run in self._runs)

    @cached_property
    def _starts(self) -> list[int]:
        return _line_starts(self._text)

    @property
    def line_spans(self) -> Spans:
        """First and last line of each span, counted from 1."""
        return line_spans(self._text, self.spans)

    def _marker(self, first: int, stop: int) -> str | None:
        """Return the marker of the dropped units ``[first, stop)``, or None if nothing that can be read was dropped."""
        template, text, units = self._options.gap_marker, self._text, self._units
        dropped = [unit for unit in units[first:stop] if unit.kind != "markup" and text[unit.start : unit.end].strip()]
        if template is None or not dropped:
            return None
        start, end = dropped[0].start, dropped[-1].end
        piece = text[start:end]
        first_line, last_line = _lines(self._starts, end - len(piece.lstrip()), start + len(piece.rstrip()))
        values = {
            "lines": last_line - first_line + 1,
            "units": len(dropped),
            "tokens": int(self._unit_tokens[first:stop].sum()),
            "characters": len(piece.strip()),
            "first_line": first_line,
            "last_line": last_line,
        }
        return _FIELD.sub(lambda match: str(values[match[1]]), template)

    def _between(self, end: int, start: int) -> str:
        return separator(self._text, (end, start), self._options.joiner, self._format)

    @cached_property
    def _pieces(self) -> list[tuple[str, bool]]:
        """The text in pieces, and whether each one is of the passage."""
        options, text, runs = self._options, self._text, self._runs
        pieces: list[tuple[str, bool]] = []
        if not runs:
            return pieces
        if options.gap_marker_ends and (marker := self._marker(0, runs[0].first)) is not None:
            pieces.append((f"{marker}{self._between(0, runs[0].start)}", False))
        for place, run in enumerate(runs):
            if place:
                gap = self._between(runs[place - 1].end, run.start)
                marker = self._marker(runs[place - 1].stop, run.first)
                # In Markdown the marker lies in the list, the quote or the code that the next span lies in.
                margin = _margin(text, run.start) if self._format == "markdown" else ""
                pieces.append((gap if marker is None else f"{gap}{margin}{marker}{gap}", False))
            pieces.append((text[run.start : run.end], True))
        if options.gap_marker_ends and (marker := self._marker(runs[-1].stop, len(self._units))) is not None:
            after = self._units[runs[-1].stop].start
            pieces.append((f"{self._between(runs[-1].end, after)}{marker}", False))
        return pieces

    @property
    def text(self) -> str:
        """The kept spans with the joiner or marker in each gap. A span that began a line begins one again."""
        return "".join(piece for piece, _ in self._pieces)

    def gap_tokens(self, count: Callable[[str], int]) -> int:
        """Return the number of tokens of joiners and markers."""
        pieces = Counter(piece for piece, own in self._pieces if not own and piece.strip())
        return sum(count(piece) * number for piece, number in pieces.items())


def largest_gap(text: str, units: Sequence[Unit], unit_tokens: NDArray[np.int32], options: PruneOptions) -> str:
    """Return the text of the longest possible gap of a passage; the empty string if gaps have no text."""
    if options.gap_marker is None:
        return options.joiner.strip()
    lines = len(_LINE_BREAK.findall(text)) + 1
    values = dict.fromkeys(GAP_FIELDS, lines) | {
        "units": len(units),
        "tokens": int(unit_tokens.sum()),
        "characters": len(text),
    }
    marker = _FIELD.sub(lambda match: str(values[match[1]]), options.gap_marker)
    return f"{options.joiner}{marker}{options.joiner}".strip()
