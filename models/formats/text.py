"""Plain text: paragraphs, list items and sentences."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from secateur.models.formats.building import UnitBuilder
from secateur.models.formats.pages import PAGE_BREAK, broken_words, goes_on, page_lines
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit, UnitKind

MAX_UNIT_WORDS = 120

_SYMBOL = r"[-*+•‣▪◦●○–—]"
_LABEL = r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{2,5})[.)]"
_NEWLINE = r"(?:\r\n?+|[\n\x0b\x0c\x85])"
_BLANK = r"[^\S\r\n\x0b\x0c\x85\u2029]"
_PUNCTUATION = r"[.!?:;,。！？：；…][\"'”’)\]」』）]*"
_MARKER = rf"(?P<marker>{_SYMBOL}|{_LABEL})[ \t]+(?=\S)"
# Possessive quantifiers: "\r\n" is one line break, and a run of white space is read once.
_BLOCK_BREAK = re.compile(
    rf"(?:{_NEWLINE}{_BLANK}*+{_NEWLINE}|[\x0c\u2029])\s*+|{_NEWLINE}(?={_BLANK}*+{_MARKER})",
)
_MARKED_LINE = re.compile(rf"(?:\A|{_NEWLINE}|\u2029){_BLANK}*+{_MARKER}")
_BEFORE_MARKER = re.compile(
    rf"(?:\A|{_NEWLINE}{_BLANK}*+{_NEWLINE}|[\x0c\u2029]|{_PUNCTUATION}{_BLANK}*{_NEWLINE}){_BLANK}*\Z"
)
_LOOK_BACK = 64  # characters
LEAD_IN = re.compile(r":[*_`\"”’)]*\s*\Z")
"""The end of a sentence that introduces what follows: a list, a table, code."""
_SENTENCE_END = re.compile(rf"{_PUNCTUATION}\s*$")
_MAX_HEADING_WORDS = 12
# A "word" as a measure of length: at most 16 characters without white space, or two CJK characters.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{1,2}|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{1,16}"
)
_ZERO_WIDTH_JOINER = "\u200d"
_MAX_MARKS = 64  # how far a cut may move to keep a character and its marks together
_PIECE = 1 << 14  # characters passed to a segmenter at once, so that each call is short
_AHEAD = 512  # characters of context after a sentence's end
_BEHIND = 16  # characters of context before it


def _numbering(label: str) -> tuple[str, int]:
    """Return the numbering of a list label and its place there: ("1", 11) for ``11.``, ("a", 99) for ``c)``."""
    name = label.strip("(.)")
    if name.isdigit():
        return "1", int(name)
    return ("A" if name.isupper() else "a"), ord(name) if len(name) == 1 else 0


def _items(text: str) -> dict[int, int]:
    """Return the list items of a text: where the marker of each begins and ends, with the white space after it.

    Some lines only look like an item: ``J. Smith``, ``11. It had``, ``— to``. A symbol or a label with a bracket is
    always a marker. A label with a full stop is one if its neighbour in the numbering begins another line; a number
    also at the start of a paragraph, or after a line that ends with punctuation. A dash is one in the same places, or
    if another dash begins a line.
    """
    lines = list(_MARKED_LINE.finditer(text))
    labels = {_numbering(line["marker"]) for line in lines}
    dashes = sum(line["marker"] in "–—" for line in lines)
    found = {}
    for line in lines:
        marker, start = line["marker"], line.start("marker")
        numbering, place = _numbering(marker)
        if marker in "–—":
            known, may_open = dashes > 1, True
        elif len(marker) == 1 or marker.endswith(")") or not place:
            known, may_open = True, True
        else:
            # A 0 stands for Roman numbers of several letters.
            known = not labels.isdisjoint({(numbering, place - 1), (numbering, place + 1), (numbering, 0)})
            known = known or (numbering, place) == ("1", 1)
            may_open = numbering == "1"
        if known or (may_open and _BEFORE_MARKER.search(text[max(0, start - _LOOK_BACK) : start])):
            found[start] = line.end()
    return found


def _block_starts(text: str, items: Mapping[int, int]) -> Iterator[int]:
    """Yield where blocks start after the first one: after paragraph breaks and at list items."""
    first = len(text) - len(text.lstrip())  # leading white space belongs to the first block
    for match in _BLOCK_BREAK.finditer(text):
        if match["marker"] and match.start("marker") not in items:
            continue
        if match.start() >= first and match.end() < len(text):
            yield match.end()


def _after_break(text: str, end: int) -> int:
    while end < len(text) and text[end].isspace():
        end += 1
    return end


def _has_content(text: str) -> bool:
    return any(map(str.isalnum, text))


def _split(block: str, segmenter: Segmenter) -> Iterator[int]:
    """Yield the sentence ends of a block. A long block is segmented in pieces, each with some context."""
    start = 0
    while len(block) - start > _PIECE:
        base = max(0, start - _BEHIND)
        found = (base + end for end in segmenter(block[base : start + _PIECE]))
        ends = [end for end in found if start < end <= start + _PIECE - _AHEAD]
        yield from ends
        # The next piece begins at a sentence, unless that advances too little: the time stays linear.
        start = ends[-1] if ends and ends[-1] - start > _PIECE // 2 else start + _PIECE - _AHEAD
    base = max(0, start - _BEHIND)
    yield from (base + end for end in segmenter(block[base:]) if base + end > start)
    yield len(block)


def _sentence_ends(block: str, marker: int, segmenter: Segmenter) -> list[int]:
    """Return the sentence ends of a block, trailing white space included; the last is ``len(block)``.

    A piece without a letter or digit (a stray quotation mark) is joined to the piece before it.

    Args:
        block: Text of the block.
        marker: End of its list marker; 0 without one.
        segmenter: Sentence segmenter.
    """
    ends: list[int] = []
    start = 0
    for raw in _split(block, segmenter):
        end = raw
        while end < len(block) and block[end].isspace():
            end += 1
        if end <= max(start, marker):
            continue
        if ends and not _has_content(block[start:end]):
            ends[-1] = end
        else:
            ends.append(end)
        start = end
    return ends


def _cut_rank(text: str, end: int) -> int:
    """Return how good a cut at ``end`` is: 3 line break, 2 clause punctuation, 1 white space, 0 inside a word."""
    gap = end
    while gap < len(text) and text[gap].isspace():
        gap += 1
    if "\n" in text[end:gap]:
        return 3
    if text[end - 1] in ";:。；：、，" or (text[end - 1] in ",—–.!?" and gap > end):
        return 2
    return 1 if gap > end else 0


def _safe_cut(text: str, end: int, limit: int) -> int:
    """Move a cut forward past combining marks, variation selectors, joiners and trailing white space."""
    last = min(limit, end + _MAX_MARKS)
    while end < last and (
        unicodedata.category(text[end]).startswith("M")
        or text[end] == _ZERO_WIDTH_JOINER
        or text[end - 1] == _ZERO_WIDTH_JOINER
    ):
        end += 1
    while end < limit and text[end].isspace():
        end += 1
    return end


def _split_long(text: str, start: int, end: int, max_words: int) -> Iterator[int]:
    """Yield the ends of pieces of at most ``max_words`` words, each cut at the best boundary of its second half."""
    piece = text[start:end]
    # Cheap upper bounds of the number of words.
    short = len(piece) <= max_words or (piece.isascii() and len(piece.split()) + len(piece) // 16 <= max_words)
    words = [] if short else [match.end() for match in _WORD.finditer(text, start, end)]
    first = 0
    while len(words) - first > max_words:
        remaining = len(words) - first
        target = first + remaining // -(-remaining // max_words)
        window = range(first + max_words // 2, first + max_words + 1)
        best = max(window, key=lambda k: (_cut_rank(text, words[k - 1]), -abs(k - target)))
        cut = _safe_cut(text, words[best - 1], end)
        if cut >= end:
            break
        yield cut
        first = bisect_right(words, cut, lo=best)  # the cut may have moved past words made of marks
    yield end


def is_heading(block: str) -> bool:
    """Return whether a paragraph reads as a heading: short, and without punctuation at its end."""
    stripped = block.strip()
    short = len(stripped.split()) <= _MAX_HEADING_WORDS and len(stripped) <= 120
    return short and _has_content(stripped) and not _SENTENCE_END.search(stripped)


def add_sentences(
    building: UnitBuilder,
    stop: int,
    segmenter: Segmenter,
    kind: UnitKind = "sentence",
    needs: Sequence[int] = (),
    marker: int = 0,
) -> range:
    """Add the sentences of a block that begins where the last unit ended.

    A unit of more than `MAX_UNIT_WORDS` words is split at the best inner boundary.

    Args:
        building: Units so far.
        stop: End of the block.
        segmenter: Sentence segmenter.
        kind: Kind of the units.
        needs: Units that each of them needs.
        marker: End of the block's list marker, which begins no sentence of its own; 0 without one.

    Returns:
        Indexes of the new units.
    """
    text, start, first = building.text, building.end, len(building)
    for offset in _sentence_ends(text[start:stop], max(0, marker - start), segmenter):
        for end in _split_long(text, building.end, start + offset, MAX_UNIT_WORDS):
            building.add(end, kind, needs)
    return range(first, len(building))


@dataclass(frozen=True, slots=True)
class _Block:
    """A block: a paragraph, a list item, or the header or footer of a page.

    Attributes:
        start: Where it starts.
        stop: Where it ends.
        marker: End of its list marker; 0 without one.
        of_page: Whether it is a header or footer.
        goes_on: Whether it begins inside of a sentence that was interrupted by a page break, header or footer.
        interrupted: Whether it ends inside of one.
    """

    start: int
    stop: int
    marker: int
    of_page: bool
    goes_on: bool = False
    interrupted: bool = False


def _blocks(text: str) -> list[_Block]:
    """Return the blocks of a text, which tile it."""
    items = _items(text)
    of_pages = {start: end for start, end in page_lines(text)}
    cuts = set(_block_starts(text, items))
    for start, end in of_pages.items():
        cuts.update((start, _after_break(text, end)))
    bounds = sorted(cuts - {0, len(text)})
    blocks: list[_Block] = []
    last = -1  # the last block that is of no page
    for start, stop in pairwise([0, *bounds, len(text)]):
        begin = _after_break(text, start)
        block = _Block(start, stop, items.get(begin, 0), start in of_pages or begin in of_pages)
        if not block.of_page:
            between = last >= 0 and (last < len(blocks) - 1 or PAGE_BREAK in _space_at_end(text, blocks[last]))
            if between and not block.marker and goes_on(text[blocks[last].start : blocks[last].stop], text[begin:stop]):
                block = replace(block, goes_on=True)
                blocks[last] = replace(blocks[last], interrupted=True)
            last = len(blocks)
        blocks.append(block)
    return blocks if text else []


def _space_at_end(text: str, block: _Block) -> str:
    piece = text[block.start : block.stop]
    return piece[len(piece.rstrip()) :]


def segment_text(text: str, segmenter: Segmenter) -> list[Unit]:
    """Segment plain text into units that tile it: sentences, headings, list items, headers and footers of pages.

    Paragraph breaks and list items always end a unit. A unit needs the heading before it, a list item the sentence that
    introduces the list, and the later sentences of an item its first one. The two pieces of a sentence that a page
    break, header or footer interrupts need each other. A word that is broken at the end of a line is read as one.
    """
    building = UnitBuilder(text)
    heading: tuple[int, ...] = ()
    lead_in: tuple[int, ...] = ()
    before: tuple[int, ...] = ()  # the last unit that is of no page
    for block in _blocks(text):
        if block.of_page:
            building.add(block.stop, "line")
            continue
        content = text[block.start : block.stop]
        part = block.goes_on or block.interrupted
        if not block.marker and not part and len(content) < len(text) and is_heading(content):
            heading = tuple(add_sentences(building, block.stop, segmenter, "heading"))
            lead_in, before = (), heading
            continue
        needs = (*heading, *lead_in) if block.marker else heading
        units = add_sentences(
            building, block.stop, segmenter, "list_item" if block.marker else "sentence", needs, block.marker
        )
        if not units:
            continue
        if block.marker:
            building.also_need(units[1:], units[:1])
        else:
            lead_in = (units[-1],) if LEAD_IN.search(content[-_LOOK_BACK:]) else ()
        if block.goes_on:
            building.also_need(before, units[:1])
            building.also_need(units[:1], before)
        before = (units[-1],)
    _hide_breaks(building)
    return building.units


def _hide_breaks(building: UnitBuilder) -> None:
    """Hide what parts a word at the end of a line."""
    index = 0
    hidden: dict[int, list[tuple[int, int]]] = {}
    for start, end in broken_words(building.text):
        while building.units[index].end <= start:
            index += 1
        if end < building.units[index].end:
            hidden.setdefault(index, []).append((start, end))
    for index, spans in hidden.items():
        building.hide(index, spans)
