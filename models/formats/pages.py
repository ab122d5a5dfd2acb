"""Text that was taken from pages: headers and footers between the sentences, and words broken at the end of a line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

PAGE_BREAK = "\x0c"
_LINE = re.compile(r"\S[^\r\n\x0c]*")  # a line that is not blank, without its indentation
_BLANK = re.compile(r"(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)|\x0c")
_LONGEST = 120  # characters of a header or footer
_REPEATED = 3
_PAGE_NAME = r"(?:page|p\.|pg\.|seite|página|pagina|pág\.|страница|стр\.|sida|side|strona|sayfa)"
_PAGE = re.compile(rf"{_PAGE_NAME} ?\d{{1,4}}(?: ?(?:of|/|von|de|di|sur|из|av|af|z) ?\d{{1,4}})?", re.IGNORECASE)
_NUMBER = re.compile(r"[-–—|\[] ?\d{1,4} ?[-–—|\]]|\d{1,4}(?: ?(?:of|/) ?\d{1,4})?")
_DIGITS = re.compile(r"\d+")
_ENDED = re.compile(r"[.!?:;…。！？|][\"'”’)\]]*\Z")
# A hyphen at the end of a line, inside of a word. "short- and long-term" has two words.
_BROKEN = re.compile(
    r"(?<=[^\W_])[-\u00ad\u2010][ \t]*(?:\r\n?|\n)[ \t]*(?=[^\W_])(?!(?:and|or|to|und|oder|bis|et|ou|y|o|e)\b)"
)
_WORD_BEFORE = re.compile(r"(-?)([^\W\d_]+)\Z")
_LONGEST_WORD = 32
# Words that begin compounds which keep their hyphen.
_COMPOUND = re.compile(
    r"all|anti|co|cross|double|ex|far|first|full|half|hard|high|ill|large|left|long|low|mid|multi|near|non|off|old|one"
    r"|open|post|pre|pro|real|right|same|second|self|semi|short|single|sub|third|top|two|three|four|well|wide"
)


def goes_on(before: str, after: str) -> bool:
    """Return whether a sentence that a page break or footer interrupts goes on after it."""
    tail, head = before.rstrip()[-8:], after.lstrip()[:1]
    return bool(tail) and not _ENDED.search(tail) and (head.islower() or bool(head.isalnum() and tail[-1:] in ",-‐"))


def _reads_as_header(line: str) -> bool:
    return not _ENDED.search(line) and not line[0].islower() and any(map(str.isalnum, line))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that may be a header or footer.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        key: Its text up to numbers.
        alone: Whether there are blank lines or page breaks around it.
        at_page: Whether a page begins or ends with it.
    """

    start: int
    end: int
    key: str
    alone: bool
    at_page: bool


def _at_pages(text: str, lines: list[tuple[int, int]]) -> set[int]:
    """Return the places of the lines with which a page begins or ends, and of those next to one with its number."""
    found: set[int] = set()
    for place, ((_, end), (start, _)) in enumerate(pairwise(lines)):
        if PAGE_BREAK in text[end:start]:
            found.update((place, place + 1))
    for place in list(found):
        line = text[slice(*lines[place])].strip()
        if _NUMBER.fullmatch(line) or _PAGE.fullmatch(line):
            found.update(near for near in (place - 1, place + 1) if 0 <= near < len(lines))
    return found


def _candidates(text: str) -> tuple[list[_Line], set[int]]:
    """Return the lines that may be headers or footers, and where those start that interrupt a sentence."""
    lines = [match.span() for match in _LINE.finditer(text)]
    at_pages = _at_pages(text, lines)
    found: list[_Line] = []
    inside: set[int] = set()
    waiting: list[tuple[int, str]] = []
    before = ""  # the last line that is no candidate
    for place, (start, end) in enumerate(lines):
        above = text[lines[place - 1][1] : start] if place else PAGE_BREAK
        below = text[end : lines[place + 1][0]] if place + 1 < len(lines) else PAGE_BREAK
        alone = bool(_BLANK.search(above) and _BLANK.search(below))
        at_page = place in at_pages
        line = text[start:end].strip()
        if (alone or at_page) and len(line) <= _LONGEST and (_PAGE.fullmatch(line) or _reads_as_header(line)):
            found.append(_Line(start, end, " ".join(_DIGITS.sub("#", line).casefold().split()), alone, at_page))
            if alone:
                waiting.append((start, line))
                continue
        if waiting and not goes_on(before, line):
            before = waiting.pop(0)[1]  # it may be the one that is interrupted
        if goes_on(before, line):
            inside.update(start for start, _ in waiting)
        before, waiting = line, []
    return found, inside


def page_lines(text: str) -> list[tuple[int, int]]:
    """Return the spans of page headers and footers, ascending.

    A header or footer is a line that

    - names a page (``Page 3 of 12``) and stands alone or beside a page break,
    - is a page number beside a page break or inside of a sentence,
    - stands beside two page breaks or more, up to numbers,
    - stands alone at a page break inside of a sentence, or
    - stands alone three times or more, up to numbers, and once inside of a sentence.
    """
    lines, inside = _candidates(text)
    at_pages = Counter(line.key for line in lines if line.at_page)
    alone = Counter(line.key for line in lines if line.alone)
    keys_inside = {line.key for line in lines if line.start in inside}
    found = []
    for line in lines:
        content = text[line.start : line.end].strip()
        interrupts = line.start in inside
        if (
            _PAGE.fullmatch(content)
            or (_NUMBER.fullmatch(content) and (line.at_page or interrupts))
            or (line.at_page and (at_pages[line.key] > 1 or interrupts))
            or (line.alone and alone[line.key] >= _REPEATED and line.key in keys_inside)
        ):
            found.append((line.start, line.end))
    return found


def broken_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans that part a word at the end of a line, so that the network reads it as one.

    The hyphen is part of the span if lower-case letters stand on both sides (``cor-`` and ``pus``). It is none, and the
    word keeps it, after a word that begins compounds (``well-`` and ``known``), after another hyphen, and beside
    capital letters and digits (``COVID-`` and ``19``).
    """
    for match in _BROKEN.finditer(text):
        start, end = match.span()
        word = _WORD_BEFORE.search(text[max(0, start - _LONGEST_WORD) : start])
        joined = word and not word[1] and word[2].islower() and not _COMPOUND.fullmatch(word[2]) and text[end].islower()
        yield start if joined or match[0][0] == "\u00ad" else start + 1, end
