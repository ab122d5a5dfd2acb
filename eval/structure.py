"""Whether what is kept still reads, by rules that know nothing of `Unit.needs`.

Units that are kept by the default options are counted: table rows, code, list items, and all of them. The share of them
that comes with what they need is measured with and without `keep_structure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from secateur.eval.quality import Measured
from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.units import Source
from secateur.labelled.readable import readable_text
from secateur.models.formats.lines import indent_of, is_diff
from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.segmentation import format_of
from secateur.models.selection import SelectablePassage, Selection, select

CHECKS = {
    "rows": "table rows with their header",
    "code": "code with its enclosing signature",
    "items": "list items with their lead-in",
    "headings": "units with their heading path",
}
"""What is checked; the keys are those of `metrics.json`."""

_SIGNATURE = re.compile(
    r"^[ \t]*(?:(?:async|export|default|public|private|protected|internal|static|abstract|final|pub|unsafe) +)*"
    r"(?:def|class|func|fn|function|interface|struct|enum|trait|impl|module|namespace)\b[^;\n]*[:{(][ \t]*$",
    re.MULTILINE,
)
_ATX = re.compile(r"[\s>]*(#{1,6})\s")
_SETEXT = re.compile(r"\n[ \t>]*(=+|-+)[ \t]*$")
_HEADING_TAG = re.compile(r"<h([1-6])\b[^<]*\Z", re.IGNORECASE)
_DECORATION = ' *_`"”’)'

Needed = Iterator[tuple[int, tuple[int, ...]]]
"""Units, each with those that it needs, as positions in the tiling."""


def _rows(p: SegmentedPassage) -> Needed:
    """A row needs the header row of its table."""
    header: int | None = None
    for place, unit in enumerate(p.tiling):
        if unit.kind == "table_row" and header is not None:
            yield place, (header,)
        elif unit.kind == "table_header":
            header = place
        elif unit.kind != "markup" or "</table" in p.passage.text[unit.start : unit.end].lower():
            header = None


def _code(p: SegmentedPassage) -> Needed:
    """A line of code needs the nearest signature above it with a smaller indentation."""
    text = p.passage.text
    if is_diff(text.splitlines()):
        return
    signatures: list[tuple[int, int]] = []
    for place, unit in enumerate(p.tiling):
        readable = text[unit.start : unit.end] if readable_text(text, unit) else ""
        if unit.kind not in ("code", "line") or not readable:
            signatures = []
            continue
        indent = indent_of(readable.lstrip("\r\n"))
        signatures = [one for one in signatures if one[0] < indent]
        if signatures:
            yield place, (signatures[-1][1],)
        if _SIGNATURE.search(readable):
            signatures.append((indent, place))


def _items(p: SegmentedPassage) -> Needed:
    """An item needs the sentence before its list, if that ends with a colon."""
    before, lead_in = -1, False
    for place, unit in enumerate(p.tiling):
        if unit.kind == "list_item":
            if lead_in:
                yield place, (before,)
        elif unit.kind != "markup":
            before = place
            lead_in = unit.kind != "heading" and readable_text(p.passage.text, unit).rstrip(_DECORATION).endswith(":")


def _heading_level(p: SegmentedPassage, place: int) -> int | None:
    unit, text = p.tiling[place], p.passage.text
    piece = text[unit.start : unit.end].rstrip()
    if found := _ATX.match(piece):
        return len(found[1])
    if found := _SETEXT.search(piece):
        return 1 if found[1][0] == "=" else 2
    found = _HEADING_TAG.search(text, p.tiling[place - 1].start, unit.start) if place else None
    return int(found[1]) if found else None


def _headings(p: SegmentedPassage) -> Needed:
    """A unit needs the nearest heading above it of each higher level."""
    path: list[tuple[int, int]] = []
    scored = p.scored
    for place, unit in enumerate(p.tiling):
        if unit.kind != "heading" and path and scored[place]:
            yield place, tuple(heading for _, heading in path)
        elif unit.kind == "heading" and (level := _heading_level(p, place)) is not None:
            path = [one for one in path if one[0] < level] + [(level, place)]


_RULES = {"rows": _rows, "code": _code, "items": _items, "headings": _headings}


def needed_units(p: SegmentedPassage) -> dict[str, dict[int, tuple[int, ...]]]:
    """Return by check the units of a passage that need others, each with those, as positions in its tiling."""
    return {check: dict(rule(p)) for check, rule in _RULES.items()}


def _selections(
    source: Source, measured: Measured, threshold: float, *, structure: bool
) -> Iterator[tuple[SegmentedPassage, Selection]]:
    """Yield each passage that is not plain text with what the default options keep of it."""
    scores = measured.scores[source.name]
    ends = np.cumsum([len(p.units) for row in source.segmented for p in row])[:-1]
    parts = iter(zip(scores.relevance.tolist(), np.split(scores.units, ends), strict=True))
    options = PruneOptions(reorder=False, keep_structure=None if structure else False)
    for row in source.segmented:
        selectable = []
        for index, p in enumerate(row):
            relevance, own = next(parts)
            units = np.zeros(len(p.tiling))
            units[p.scored] = own
            tokens = np.zeros(len(p.tiling), dtype=np.int32)  # without a budget they are not read
            passage_scores = PassageScores(relevance, units)
            name = format_of(p.passage)
            selectable.append(SelectablePassage(index, p.passage, p.tiling, tokens, passage_scores, name))
        chosen = select(selectable, options, threshold)
        yield from (pair for pair in zip(row, chosen, strict=True) if pair[1].scored.format != "text")


def still_reads(measured: Measured, source: Source) -> dict[str, list[int]]:
    """Count the kept units of a source that need others, and those that come with them.

    Returns:
        By check the number of units that are kept for themselves and need others, and how many of these come with all
        of them, without and with `keep_structure`; under `characters` all of them, and those that are kept without and
        with it. Nothing for a system without a threshold.
    """
    threshold = measured.system.threshold
    found = {check: [0, 0, 0] for check in (*CHECKS, "characters")}
    if threshold is None:
        return {}
    for column, structure in enumerate((False, True), 1):
        for p, selection in _selections(source, measured, threshold, structure=structure):
            kept = selection.reasons
            for check, needed in needed_units(p).items():
                own = [place for place in kept if place in needed and kept[place] != "structure"]
                found[check][0] += len(own) if structure else 0
                found[check][column] += sum(all(one in kept for one in needed[place]) for place in own)
            found["characters"][0] += len(p.passage.text) if structure else 0
            found["characters"][column] += sum(p.tiling[place].end - p.tiling[place].start for place in kept)
    return {check: counts for check, counts in found.items() if counts[0]}


def structure_summary(measured: Measured, sources: Sequence[Source]) -> dict[str, Any]:
    """Return the counts of `still_reads` by source; nothing if all sources are plain text."""
    found = {source.name: still_reads(measured, source) for source in sources}
    return {name: counts for name, counts in found.items() if counts}
