"""HTML: block elements bound units; scripts, styles, navigation and hidden elements are never read.

The source is scanned tag by tag, since parsers do not tell where each piece stood. The units tile broken markup too.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import NamedTuple

from secateur.models.formats.building import UnitBuilder
from secateur.models.formats.lines import add_lines
from secateur.models.formats.openings import need_before
from secateur.models.formats.text import add_sentences
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit, UnitKind

_TAG = re.compile(
    r"<(?:!--.*?(?:-->|\Z)|[!?/][^<>a-zA-Z][^<>]*>|[!?][^<>]*>"
    r"|(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9:-]{0,40})(?P<attributes>(?:[^<>\"']++|\"[^\"]{0,50000}+\"|'[^']{0,50000}+')*+)>)",
    re.DOTALL,
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_KINDS: dict[str, UnitKind] = {
    **dict.fromkeys(_HEADINGS, "heading"),
    **dict.fromkeys(("li", "dt", "dd"), "list_item"),
    "tr": "table_row",
    "pre": "code",
    "blockquote": "quote",
}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BLOCKS = _names(
    """
    address article aside body caption center details dialog div dl fieldset figcaption figure footer form
    header hgroup html main menu ol optgroup option p section select summary table tbody td tfoot th thead ul
    """
) | frozenset(_KINDS)
_UNREAD = _names("canvas head iframe nav noscript object script style svg template")
_BOUNDING = _BLOCKS | _UNREAD
_RAW = _names("script style")  # their content is no markup
_INTRODUCED = _names("ul ol dl table pre")  # a sentence with a colon before them introduces them
VOID = _names("area base br col embed hr img input link meta param source track wbr")
_LONGEST_ROW = 4000  # characters of a row that is one unit
_DEEPEST = 256  # elements that are nested deeper bound no units
_DEEPEST_INLINE = 32
# An element that has no closing tag ends where one of these opens.
_ENDED_BY = {
    "p": _BLOCKS - {"body", "html"},
    "li": frozenset(("li",)),
    "dt": frozenset(("dt", "dd")),
    "dd": frozenset(("dt", "dd")),
    **dict.fromkeys(("td", "th"), frozenset(("td", "th", "tr", "tbody", "tfoot", "thead"))),
    "tr": frozenset(("tr", "tbody", "tfoot", "thead")),
    "thead": frozenset(("tbody", "tfoot")),
    "tbody": frozenset(("tbody", "tfoot")),
    "option": frozenset(("option", "optgroup")),
}
_QUOTES = "\"' "
_WITH_SENTENCES = ("sentence", "quote", "list_item")
_ITEMS = frozenset(("li", "dt", "dd"))
_LISTS = _names("dl menu ol ul")
_ATTRIBUTE = re.compile(r"([^\s\"'=/]++)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"']++))?+")
_MAY_HIDE = ("hidden", "navigation", "display")
_HIDING = re.compile(r"hidden=.*|aria-hidden=true|role=navigation|style=.*\bdisplay\s*:\s*none.*", re.DOTALL)
# Parts of entities that are not read: white space and punctuation, all of `&amp;` but its first character, and all of a
# letter with an accent but the letter.
_ENTITY = re.compile(
    r"&(?:nbsp|ensp|emsp|thinsp|shy|zwnj|zwj|#160|#xa0|lt|gt|quot|apos|#3[49]|#x2[27]|[lr]s?[ad]?quo|[nm]dash|hellip|bull"
    r"|middot|laquo|raquo|copy|reg|trade|times|para|sect|#8211|#8212|#821[67]|#822[01]|#8230);"
    r"|(?<=&)amp;|&(?=[a-z](?:acute|grave|circ|uml|tilde|cedil|ring|caron|slash);)"
    r"|(?<=&[a-z])(?:acute|grave|circ|uml|tilde|cedil|ring|caron|slash);",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(r":(?:\s|</?[a-z]+>)*\Z")


@dataclass(slots=True)
class _Element:
    """An open block element.

    Attributes:
        name: Name of the tag.
        kind: Kind of the units inside.
        opening: Unit of the opening tag.
        unread: Whether nothing inside is read.
        needs: Units outside that the units inside need: the lead-in of a list, the header row of a table.
        lead_in: Lead-in of the list items inside that are in no list.
        term: Term that the next description inside explains.
        hiding: Name of the inline element inside that hides what follows; the empty string for none.
        hiding_depth: Number of open elements of that name.
        hiding_from: Where what it hides begins.
    """

    name: str
    kind: UnitKind = "sentence"
    opening: tuple[int, ...] = ()
    unread: bool = False
    needs: tuple[int, ...] = ()
    lead_in: tuple[int, ...] = ()
    term: tuple[int, ...] = ()
    hiding: str = ""
    hiding_depth: int = 0
    hiding_from: int = 0


_START, _SPAN_START, _SPAN_END = attrgetter("start"), itemgetter(0), itemgetter(1)


class _Tag(NamedTuple):
    """A tag that bounds no unit; `change` is 1 for one that opens an element, -1 for one that closes it."""

    start: int
    end: int
    change: int
    name: str


@dataclass(slots=True)
class _Inline:
    """An open inline element: the block element that it lies in, and the unit of its opening tag."""

    name: str
    outer: _Element
    unit: int


def _hides(attributes: str) -> bool:
    """Return whether attributes say that an element is hidden, or navigation."""
    if not attributes:
        return False
    attributes = attributes.lower()
    if not any(word in attributes for word in _MAY_HIDE):
        return False
    pairs = (f"{match[1]}={(match[2] or '').strip(_QUOTES)}" for match in _ATTRIBUTE.finditer(attributes))
    return any(_HIDING.fullmatch(pair) for pair in pairs)


class _Writer:
    """Adds units tag by tag."""

    def __init__(self, text: str, segmenter: Segmenter) -> None:
        self.building = UnitBuilder(text)
        self._segmenter = segmenter
        self._open = [_Element("")]
        self._headings: list[tuple[str, tuple[int, ...]]] = []
        self._tags: list[_Tag] = []  # inline tags since the last unit
        self._concealed: list[tuple[int, int]] = []  # what inline elements hide since the last unit
        self._inline: list[_Inline] = []
        self._lead_in: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Number of open block elements."""
        return len(self._open)

    def inline(self, tag: _Tag, attributes: str) -> None:
        """Note a tag that bounds no unit."""
        self._tags.append(tag)
        element = self._open[-1]
        if element.hiding:
            element.hiding_depth += tag.change if tag.name == element.hiding else 0
            if not element.hiding_depth:
                self._concealed.append((element.hiding_from, tag.start))
                element.hiding = ""
        elif tag.change > 0 and _hides(attributes):
            element.hiding, element.hiding_depth, element.hiding_from = tag.name, 1, tag.end

    def open(self, name: str, attributes: str, start: int, end: int) -> None:
        """Open a block element."""
        self.text(start)
        while name in _ENDED_BY.get(self._open[-1].name, ()):
            self._end(())
        outer = self._open[-1]
        unread = outer.unread or bool(outer.hiding) or name in _UNREAD or _hides(attributes)
        kind = _KINDS.get(name, outer.kind)
        if name in _HEADINGS and not unread:
            self._headings = [one for one in self._headings if one[0] < name]
        opening = self._tag(start, end, self._needs())
        if name in _ITEMS and outer.name not in _LISTS:
            outer.lead_in = outer.lead_in or self._lead_in
            needs = (*outer.needs, *outer.lead_in)
        else:
            outer.lead_in = ()
            needs = (*outer.needs, *self._lead_in) if name in _INTRODUCED else outer.needs
        if name == "dd":
            needs = (*needs, *outer.term)
        self._open.append(_Element(name, kind, opening, unread, needs))

    def close(self, name: str, start: int, end: int) -> None:
        """Close a block element, and those inside of it that were left open; a stray tag closes nothing."""
        self.text(start)
        if self._open[-1].name != name and all(element.name != name for element in self._open):
            self._tag(start, end, ())
            return
        while self._open[-1].name != name:
            self._end(())
        self._end(self._tag(start, end, self._open[-1].opening))

    def _tag(self, start: int, end: int, needs: tuple[int, ...]) -> tuple[int, ...]:
        """Add the unit of a tag that begins where the last unit ended, and return its index."""
        units = self.building.units
        units.append(Unit(start, end, "markup", needs, ((start, end),)))
        return (len(units) - 1,)

    def _end(self, closing: tuple[int, ...]) -> None:
        element = self._open.pop()
        if closing:
            self.building.also_need(element.opening, closing)
        if element.name == "tr" and self._open[-1].name != "tr":
            self._row(element)

    def _row(self, element: _Element) -> None:
        """Make one unit of the units of a row; a row of header cells alone is what the rows after it need.

        A row that is long, or holds headings or rows, lays out a page: its units stay.
        """
        building = self.building
        start = building.units[element.opening[0]].start if element.opening else building.end
        inside = building.units[element.opening[0] :] if element.opening else []
        if not inside or element.unread:
            return
        stop = building.end
        row = building.text[start:stop].lower()
        if stop - start > _LONGEST_ROW or row.count("<tr") > 1 or any(unit.kind == "heading" for unit in inside):
            return
        del building.units[element.opening[0] :]
        self._lead_in = ()
        for inline in self._inline:
            inline.unit = min(inline.unit, len(building))
        header = "<th" in row and "<td" not in row
        hidden = [span for unit in inside for span in unit.hidden]
        unit = building.add(stop, "table_header" if header else "table_row", self._needs(), hidden)
        table = next((one for one in reversed(self._open) if one.name == "table"), None)
        if header and table is not None:
            for one in self._open[self._open.index(table) :]:
                one.needs = (*one.needs, *unit)

    def _needs(self) -> tuple[int, ...]:
        element = self._open[-1]
        if element.unread:
            return ()
        heading = self._headings[-1][1] if self._headings else ()
        return tuple(dict.fromkeys((*heading, *element.opening, *element.needs)))

    def text(self, stop: int) -> None:
        """Add the text since the last unit."""
        building, tags, element = self.building, self._tags, self._open[-1]
        start, text = building.end, building.text
        if start >= stop:
            return
        if not tags and building.units and text[start:stop].isspace():
            building.extend(stop)
            return
        concealed = self._concealed
        self._tags, self._concealed = [], []
        if element.hiding:
            concealed.append((element.hiding_from, stop))
        hidden = _hidden(text, start, stop, tags, concealed)
        first = len(building)
        if element.unread or _hides_all(text, start, stop, hidden):
            building.add(stop, "markup", (), [(start, stop)] if element.unread else hidden)
            self._pair(tags, first)
            return
        element.lead_in = ()
        kind = element.kind
        if kind == "code":
            add_lines(building, stop, kind, self._needs(), code=True)
        else:
            add_sentences(building, stop, self._segmenter, kind, self._needs())
        self._hide(first, hidden, tags)
        if kind in _WITH_SENTENCES:
            need_before(building, range(first + (kind == "list_item"), len(building)))
        self._pair(tags, first)
        self._note(kind, text[max(start, stop - 200) : stop])

    def _hide(self, first: int, hidden: Sequence[tuple[int, int]], tags: Sequence[_Tag]) -> None:
        """Hide spans of the units from ``first`` on, and join those that end inside of an inline element."""
        building = self.building
        pieces = building.units[first:]
        if len(pieces) == 1 and hidden:
            building.hide(first, hidden)
        if len(pieces) < 2 or not hidden:
            return
        del building.units[first:]
        kind, stop = pieces[0].kind, pieces[-1].end
        places: dict[int, int] = {}  # of the pieces, by the indexes that they had
        pending: list[int] = []  # what the pieces need that are not added yet
        depths = [0, *accumulate(tag.change for tag in tags)]
        for piece in pieces:  # no unit ends inside of an inline element
            if depths[bisect_left(tags, piece.end, key=_START)] <= 0 or piece.end == stop:
                begin = building.end
                seen = bisect_right(hidden, begin, key=_SPAN_END), bisect_left(hidden, piece.end, key=_SPAN_START)
                spans = [(max(a, begin), min(b, piece.end)) for a, b in hidden[slice(*seen)]]
                needed = dict.fromkeys(places.get(one, one) for one in (*pending, *piece.needs))
                building.add(piece.end, kind, tuple(one for one in needed if one != len(building)), spans)
                pending = []
            else:
                pending += piece.needs
            places[first + len(places)] = len(building) - (building.end == piece.end)

    def _note(self, kind: UnitKind, tail: str) -> None:
        """Note the last unit, whose text ends with ``tail``, if what follows needs it."""
        last = (len(self.building) - 1,)
        if kind == "heading":
            self._headings.append((self._level(), last))
        if self._open[-1].name == "dt":
            self._open[-2].term = last
        self._lead_in = last if _LEAD_IN.search(tail) else ()

    def _pair(self, tags: Sequence[_Tag], first: int) -> None:
        """Make the units of an inline element's tags, from ``first`` on, need each other if a block parts them."""
        units, outer = self.building.units, self._open[-1]
        last = len(units) - 1
        for tag in tags:
            unit = last if last <= first else bisect_right(units, tag.start, first, key=_START) - 1
            if tag.change > 0:
                self._inline.append(_Inline(tag.name, outer, unit))
                del self._inline[:-_DEEPEST_INLINE]
                continue
            opened = range(len(self._inline) if tag.change else 0)
            for place in reversed(opened):
                one = self._inline[place]
                if one.name == tag.name and one.outer is outer:
                    del self._inline[place:]
                    if one.unit != unit:
                        self.building.also_need((one.unit,), (unit,))
                        self.building.also_need((unit,), (one.unit,))
                    break

    def _level(self) -> str:
        return next(one.name for one in reversed(self._open) if one.name in _HEADINGS)


def _hidden(
    text: str, start: int, stop: int, tags: Sequence[_Tag], concealed: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the spans of tags, of what inline elements conceal, and of what entities outside of them have unread."""
    found: list[tuple[int, int]] = []
    spans = [(tag.start, tag.end) for tag in tags]
    entities = [match.span() for match in _ENTITY.finditer(text, start, stop)] if "&" in text[start:stop] else []
    if not (concealed or entities):
        return spans
    inside = [(max(start, begin), end) for begin, end in concealed if max(start, begin) < end]
    for begin, end in sorted([*spans, *inside, *entities]):
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _hides_all(text: str, start: int, stop: int, hidden: Sequence[tuple[int, int]]) -> bool:
    """Return whether all of a text but white space is hidden."""
    for begin, end in hidden:
        if start < begin and not text[start:begin].isspace():
            return False
        start = max(start, end)
    return start >= stop or text[start:stop].isspace()


def segment_html(text: str, segmenter: Segmenter) -> list[Unit]:
    """Segment HTML into units that tile it.

    Each tag of a block element is a unit of its own, and is kept when something inside is, so that what is kept is well
    formed. The row of a table is one unit. Inline tags, comments and entities bound no unit, and hardly any of them is
    read.
    """
    writer = _Writer(text, segmenter)
    position = 0
    while match := _TAG.search(text, position):
        position = match.end()
        start, end = match.span()
        slash, name, attributes = match.groups("")
        name = name.lower()
        if name in _BOUNDING and (slash or writer.depth < _DEEPEST):
            if slash:
                writer.close(name, start, end)
            else:
                writer.open(name, attributes, start, end)
                if name in _RAW:
                    closing = re.compile(rf"</{name}\b", re.IGNORECASE).search(text, end)
                    position = closing.start() if closing else len(text)
        else:
            change = 0 if not name or name in VOID or attributes.endswith("/") else -1 if slash else 1
            writer.inline(_Tag(start, end, change, name), attributes)
    writer.text(len(text))
    return writer.building.units
