"""Segmentation: a text is cut into units (sentences, headings, list items) that tile it exactly.

Unit spans are code-point offsets ``[start, end)``; ``units[i].end == units[i + 1].start``, the first starts at 0 and
the last ends at ``len(text)``. White space between sentences belongs to the unit before it, so no character is lost.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator

from secateur.models.errors import unknown_name
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage, Unit, UnitKind

MAX_UNIT_WORDS = 120

_BULLET = r"(?:[-*+•‣▪◦●○–—]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{2,5})[.)])[ \t]+(?=\S)"
_NEWLINE = r"(?:\r\n?+|[\n\x0b\x0c\x85])"
_BLANK = r"[^\S\r\n\x0b\x0c\x85\u2029]"
# Possessive quantifiers: "\r\n" is one line break, and a run of white space is read once.
_BLOCK_BREAK = re.compile(
    rf"(?:{_NEWLINE}{_BLANK}*+{_NEWLINE}|[\x0c\u2029])\s*+|{_NEWLINE}(?={_BLANK}*+{_BULLET})",
)
_ITEM_START = re.compile(rf"\s*{_BULLET}")
_SENTENCE_END = re.compile(r"[.!?:;,。！？：；…][\"'”’)\]」』）]*\s*$")
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


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans that tile the text, cut at paragraph breaks and before list items."""
    start = 0
    for match in _BLOCK_BREAK.finditer(text):
        leading = start == 0 and not text[: match.start()].strip()  # belongs to the first block
        if not leading and match.end() < len(text):
            yield start, match.end()
            start = match.end()
    if start < len(text):
        yield start, len(text)


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


def _sentence_ends(block: str, segmenter: Segmenter) -> list[int]:
    """Return the sentence ends of a block, trailing white space included; the last is ``len(block)``.

    A piece without a letter or digit (a stray quotation mark, a list marker) is joined to the piece before it.
    """
    item = _ITEM_START.match(block)
    marker = item.end() if item else 0
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
    short = end - start <= max_words  # cannot have that many words
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


def _kind(text: str, block: tuple[int, int], whole: bool) -> UnitKind:
    body = text[block[0] : block[1]]
    if _ITEM_START.match(body):
        return "list_item"
    stripped = body.strip()
    short = len(stripped.split()) <= _MAX_HEADING_WORDS and len(stripped) <= 120
    if not whole and short and _has_content(stripped) and not _SENTENCE_END.search(stripped):
        return "heading"
    return "sentence"


def segment_text(text: str, segmenter: Segmenter, max_words: int = MAX_UNIT_WORDS) -> list[Unit]:
    """Segment plain text into units that tile it.

    Paragraph breaks and list items always end a unit. A unit of more than ``max_words`` words is split at the best
    inner boundary. The empty text has no units.
    """
    units: list[Unit] = []
    for block in _blocks(text):
        kind = _kind(text, block, whole=block == (0, len(text)))
        start = block[0]
        for offset in _sentence_ends(text[block[0] : block[1]], segmenter):
            for end in _split_long(text, start, block[0] + offset, max_words):
                units.append(Unit(start, end, kind))
                start = end
    return units


FORMATS: dict[str, Callable[[str, Segmenter], list[Unit]]] = {"text": segment_text}
"""The registry of passage formats: the function that cuts a text into units. Choices and errors derive from it.

A new format is one entry here, its function (with new kinds of units in `types.UnitKind`, if any), and its tests.
"""


def check_format(field: str, name: object) -> str:
    """Return the name of a format, or raise an InputError of the field if there is no such format."""
    if not isinstance(name, str) or name not in FORMATS:
        raise unknown_name(field, "format", name, FORMATS)
    return name


def segment(passage: Passage, segmenter: Segmenter | None = None) -> list[Unit]:
    """Segment a passage by its format into units that tile its text; a format that is unknown raises an InputError."""
    return FORMATS[check_format("format", passage.format)](passage.text, segmenter or get_segmenter())
