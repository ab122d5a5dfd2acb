"""Markdown (CommonMark with tables): headings, paragraphs, list items, tables, quotes, code and raw HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from secateur.models.formats.building import UnitBuilder, lines_of
from secateur.models.formats.html import VOID
from secateur.models.formats.lines import add_lines
from secateur.models.formats.openings import need_before
from secateur.models.formats.text import LEAD_IN, add_sentences
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit, UnitKind

_LEAVES = {"paragraph_open", "heading_open", "fence", "code_block", "html_block", "hr", "tr_open"}
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(?:(?!---[ \t]*\r?$).*\r?\n){0,200}?---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_MARKER = re.compile(r"[\s>]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\] )?")
# At the start of a line this would begin another block.
_BEGINS_BLOCK = re.compile(r"\s*(?:#{1,6}(?!\S)|>|[-+*](?!\S)|\d{1,9}[.)](?!\S)|```|~~~|</?[a-zA-Z!?]|[-=*_]{2,}\s*\Z)")
# What the network does not read: heading and quote marks, emphasis, the addresses of links and images, table rules,
# HTML tags and comments, and inline data.
_HIDDEN = re.compile(
    r"(?m:^[ \t]{0,3}#{1,6}(?=\s)|(?<=\S)[ \t]+#+[ \t]*$|^(?:[ \t]{0,3}>[ \t]?)+"
    r"|^[ \t|:-]*-{3,}[ \t|:-]*$|^[ \t]*=+[ \t]*$)"
    r"|\*\*|__(?=\S)|!?\[(?=[^\]\n]{1,300}\]\()"
    r"|\]\([^()\s]{0,8000}(?:\([^()\s]*\)[^()\s]{0,8000})?(?:\s+[\"'][^\"'\n]*[\"'])?\)"
    r"|<!--(?:[^<-]++|<(?!!--)|-(?!->))*+-->|</?[a-zA-Z][^<>\n]{0,500}>|data:[\w/+.-]+;base64,[\w+/=]+",
)
_RAW_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]{0,40})(?:\s[^<>]{0,500})?(?<!/)>")
_MOST_RAW = 64  # raw elements that are open at once


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])  # blocks alone are needed


@dataclass(slots=True)
class _Place:
    """What surrounds a block.

    Attributes:
        headings: Level and units of each heading above, from the first level down.
        items: Units that the blocks of each open list item need: its first unit, and what that needs itself.
        lists: Lead-in of each open list.
        header: Header row of the open table.
        quotes: Number of open quotes.
        lead_in: The last unit, if it introduces what follows.
        last: Last unit of the last paragraph.
    """

    headings: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    items: list[tuple[int, ...]] = field(default_factory=list)
    lists: list[tuple[int, ...]] = field(default_factory=list)
    header: tuple[int, ...] = ()
    quotes: int = 0
    lead_in: tuple[int, ...] = ()
    last: Sequence[int] = ()

    @property
    def heading(self) -> tuple[int, ...]:
        """The nearest heading, which needs those above it."""
        return self.headings[-1][1] if self.headings else ()

    def needs(self) -> tuple[int, ...]:
        """Return what a block at this place needs."""
        if self.items and self.items[-1]:
            return (*self.heading, *self.items[-1])
        outer = self.items[-2] if len(self.items) > 1 else ()
        return (*self.heading, *outer, *(self.lists[-1] if self.items else ()))


def hidden_spans(text: str, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return the spans of a piece of Markdown that the network does not read."""
    return tuple((match.start(), match.end()) for match in _HIDDEN.finditer(text, start, end) if match[0])


class _Writer:
    """Adds the units of the blocks, one block after the other."""

    def __init__(self, text: str, segmenter: Segmenter) -> None:
        self.building = UnitBuilder(text)
        self.place = _Place()
        self._segmenter = segmenter
        self._raw: list[tuple[str, tuple[int, ...]]] = []  # open elements of raw HTML, and the units of their tags

    def gap(self, stop: int) -> None:
        """Add what lies between two blocks: blank lines, or lines that the parser takes for definitions."""
        building = self.building
        if building.units and building.units[-1].kind == "table_header" and building.end < stop:
            start, end = next(lines_of(building.text, building.end, stop))  # the rule
            building.extend(end, [(start, end)])
        for start, end in lines_of(building.text, building.end, stop):
            if building.text[start:end].strip(" \t\r\n>"):
                building.add(end, "markup", self.place.heading)
            elif len(building):
                building.extend(end)

    def block(self, token: Token, stop: int) -> None:
        """Add a block without blocks inside."""
        if token.type == "heading_open":
            self._heading(int(token.tag[1]), stop)
        elif token.type == "paragraph_open":
            self._paragraph(stop)
        elif token.type == "tr_open":
            self._row(stop)
        elif token.type in ("fence", "code_block"):
            self._code(stop, token.markup)
        else:
            self._markup(stop)

    def container(self, name: str) -> None:
        """Enter or leave a list, a list item, a table or a quote."""
        place = self.place
        if name in ("bullet_list_open", "ordered_list_open"):
            place.lists.append(place.lead_in)
        elif name in ("bullet_list_close", "ordered_list_close"):
            place.lists.pop()
        elif name == "list_item_open":
            place.items.append(())
        elif name == "list_item_close":
            place.items.pop()
        elif name == "table_close":
            place.header, place.lead_in = (), ()
        elif name in ("blockquote_open", "blockquote_close"):
            place.quotes += 1 if name == "blockquote_open" else -1

    def _heading(self, level: int, stop: int) -> None:
        """Add a heading, which needs those of the levels above."""
        place = self.place
        place.headings = [one for one in place.headings if one[0] < level]
        place.headings.append((level, self._whole(stop, "heading", place.needs())))
        place.lead_in = ()

    def _paragraph(self, stop: int) -> None:
        """Add the sentences of a paragraph."""
        place, building = self.place, self.building
        first_of_item = bool(place.items) and place.items[-1] == ()
        needs = place.needs()
        start = building.end
        marker = _MARKER.match(building.text, start, stop) if first_of_item else None
        kind: UnitKind = "quote" if place.quotes else "list_item" if place.items else "sentence"
        units = self._sentences(stop, kind, needs, marker.end() if marker else 0)
        if units and (place.items or place.quotes):  # its first line has the mark or the indentation
            building.also_need(units[1:], units[:1])
        if first_of_item and units:
            place.items[-1] = (units[0],)
        need_before(building, units[1:] if first_of_item else units)
        place.last = units[-1:]
        place.lead_in = (units[-1],) if units and LEAD_IN.search(building.text[start:stop]) else ()

    def _sentences(self, stop: int, kind: UnitKind, needs: Sequence[int], marker: int) -> range:
        """Add the sentences of a paragraph, none of which would begin another block if it began a line."""
        building, first = self.building, len(self.building)
        add_sentences(building, stop, self._segmenter, kind, needs, marker)
        pieces = building.units[first:]
        del building.units[first + 1 :]
        for piece in pieces[1:]:
            if _BEGINS_BLOCK.match(building.text[piece.start : piece.end]):
                building.extend(piece.end)
            else:
                building.units.append(piece)
        units = range(first, len(building))
        self._hide(units)
        return units

    def _row(self, stop: int) -> None:
        """Add a row of a table; the first one is its header, with the rule below it."""
        place = self.place
        if place.header:
            self._whole(stop, "table_row", (*place.needs(), *place.header))
        else:
            place.header = self._whole(stop, "table_header", (*place.needs(), *place.lead_in))

    def _code(self, stop: int, mark: str) -> None:
        """Add the lines of a code block, which need the fences around them; there are none without a mark."""
        building, place = self.building, self.place
        needs = (*place.needs(), *place.lead_in)
        lines = list(lines_of(building.text, building.end, stop))
        if not mark:  # what stands before it tells it from a paragraph of a list item
            add_lines(building, stop, "code", tuple(dict.fromkeys((*needs, *place.last))), code=True)
            return
        fence = building.add(lines[0][1], "markup", needs, [lines[0]])
        last = building.text[slice(*lines[-1])].strip(" \t\r\n>")
        closed = len(lines) > 1 and len(last) >= len(mark) and not last.strip(mark[0])
        body = add_lines(building, lines[-1][0] if closed else stop, "code", fence, code=True)
        if closed:
            end = building.add(stop, "markup", fence, [lines[-1]])
            building.also_need((*fence, *body), end)
        place.lead_in = ()

    def _markup(self, stop: int) -> None:
        """Add raw HTML, whose tags need each other, or a rule: a sentence if it holds text that can be read."""
        start, text = self.building.end, self.building.text
        hidden = hidden_spans(text, start, stop)
        visible = len("".join(text[start:stop].split())) > sum(len("".join(text[a:b].split())) for a, b in hidden)
        kind: UnitKind = "sentence" if visible and text[start:stop].strip(" \t\r\n-*_") else "markup"
        unit = self._whole(stop, kind, self.place.needs())
        for match in _RAW_TAG.finditer(text, start, stop):
            name = match[2].lower()
            if not match[1]:
                if name not in VOID:
                    self._raw.append((name, unit))
                    del self._raw[:-_MOST_RAW]
                continue
            place = next((place for place in reversed(range(len(self._raw))) if self._raw[place][0] == name), None)
            if place is not None:
                opening = self._raw[place][1]
                del self._raw[place:]
                if opening != unit:
                    self.building.also_need(opening, unit)
                    self.building.also_need(unit, opening)

    def _whole(self, stop: int, kind: UnitKind, needs: Sequence[int]) -> tuple[int, ...]:
        start = self.building.end
        return self.building.add(stop, kind, tuple(dict.fromkeys(needs)), hidden_spans(self.building.text, start, stop))

    def _hide(self, units: range) -> None:
        building = self.building
        for index in units:
            unit = building.units[index]
            building.hide(index, hidden_spans(building.text, unit.start, unit.end))


def segment_markdown(text: str, segmenter: Segmenter) -> list[Unit]:
    """Segment Markdown into units that tile it.

    A unit needs the headings above it; a table row the header row with its rule; a list item the sentence that
    introduces its list, and the item that it lies in; later sentences of an item the first one; a line of code the
    fences and the signature around it; a line of front matter the rules around it.
    """
    writer = _Writer(text, segmenter)
    front = _FRONT_MATTER.match(text)
    offset = front.end() if front else 0
    if front:
        lines = add_lines(writer.building, offset)
        writer.building.also_need(lines, (lines[0], lines[-1]))
    starts = [offset + start for start, _ in lines_of(text[offset:])] + [len(text)]
    for token in _parser().parse(text[offset:]):
        if token.type in _LEAVES and token.map:
            first, last = (min(line, len(starts) - 1) for line in token.map)
            writer.gap(starts[first])
            writer.block(token, starts[last])
        else:
            writer.container(token.type)
    writer.gap(len(text))
    writer.building.add(len(text), "sentence")  # a blank text
    return writer.building.units
