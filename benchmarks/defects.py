"""What does not render in kept Markdown and HTML: torn tables, lists and headings, open fences, unbalanced tags.

A defect of the source itself is none of what is kept of it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from typing import NamedTuple

from markdown_it import MarkdownIt

Spans = Sequence[tuple[int, int]]


def kept_pieces(source: str, text: str, spans: Spans) -> list[tuple[int, int, int]]:
    """Return where each kept span stands in the kept text, where in the source, and its length."""
    pieces, position = [], 0
    for start, end in spans:
        position = text.index(source[start:end], position)
        pieces.append((position, start, end - start))
        position += end - start
    return pieces


class Role(NamedTuple):
    """What a line of Markdown is: the block that it lies in, and the lists and quotes around that."""

    block: str
    lists: int
    quotes: int


_PARSER = MarkdownIt("commonmark").enable("table")
_BLOCKS = ("paragraph_open", "heading_open", "fence", "code_block", "html_block", "hr", "tr_open")
_CLOSING_FENCE = re.compile(r"[\s>]*(?:`{3,}|~{3,})\s*\Z")
_FIRST = re.compile(r"[^\s>]")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:.*\n)*?---[ \t]*\n")  # is not Markdown


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A parsed Markdown text.

    Attributes:
        starts: Where each line starts.
        roles: Role of each line; None for one without a block.
        open_fences: First lines of the code blocks without a closing fence.
    """

    starts: list[int]
    roles: list[Role | None]
    open_fences: set[int]

    def line(self, position: int) -> int:
        return bisect_right(self.starts, position) - 1


@cache
def _rendered(text: str) -> _Rendered:
    starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text))]
    roles: list[Role | None] = [None] * len(starts)
    open_fences, lists, quotes = set(), 0, 0
    front = _FRONT_MATTER.match(text)
    body = "\n" * front[0].count("\n") + text[front.end() :] if front else text
    for token in _PARSER.parse(body):
        lists += token.nesting if token.type.startswith("list_item") else 0
        quotes += token.nesting if token.type.startswith("blockquote") else 0
        if token.type in _BLOCKS and token.map:
            first, stop = token.map
            block = token.tag if token.type == "heading_open" else token.type.removesuffix("_open")
            roles[first:stop] = [Role(block, lists, quotes)] * (min(stop, len(roles)) - first)
            last = text[starts[stop - 1] : starts[stop] if stop < len(starts) else len(text)]
            if token.type == "fence" and (stop - first < 2 or not _CLOSING_FENCE.match(last)):
                open_fences.add(first)
    return _Rendered(starts, roles, open_fences)


def _difference(was: Role, now: Role | None) -> str | None:
    if now is None:
        return f"lost {was.block}"
    if was.block != now.block:
        return {"tr": "orphan table row"}.get(was.block, f"{was.block} as {now.block}")
    if was.lists != now.lists:
        return "list item outside of its list" if was.lists > now.lists else "block inside of a list"
    return None if was.quotes == now.quotes else "quote"


def markdown_defects(source: str, text: str, spans: Spans) -> Counter[str]:
    """Count the lines of kept Markdown that are something else than they were, and the fences left open.

    Args:
        source: The Markdown that was pruned.
        text: What is kept of it.
        spans: Where that stands in the source.
    """
    before, after = _rendered(source), _rendered.__wrapped__(text)
    found: Counter[str] = Counter()
    origin: dict[int, int] = {}
    for position, start, length in kept_pieces(source, text, spans):
        first = before.line(start)
        for line in range(first, before.line(start + length - 1) + 1):
            begin = _FIRST.search(source, max(start, before.starts[line]), start + length)
            if begin is None or before.line(begin.start()) != line:
                continue
            kept_line = after.line(position + begin.start() - start)
            origin.setdefault(kept_line, line)
            was = before.roles[line]
            difference = was and _difference(was, after.roles[kept_line])
            if difference:
                found[difference] += 1
    opened = [line for line in after.open_fences if origin.get(line) not in before.open_fences]
    found.update(["fence left open"] * len(opened))
    return found


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names("area base br col embed hr img input link meta param source track wbr")
_MAY_STAY_OPEN = _names("li dt dd p tr td th thead tbody tfoot option optgroup colgroup caption rt rp html head body")
_ROWS = _names("tr td th")
_SECTIONS = _names("thead tbody tfoot")
_ENDS_PARAGRAPH = _names(
    """address article aside blockquote details div dl fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header
    hr main menu nav ol p pre section table ul li dt dd tr td th"""
)
# An element with an optional closing tag ends where one of these opens.
_ENDED_BY = {
    "p": _ENDS_PARAGRAPH,
    "li": _names("li"),
    "dt": _names("dt dd"),
    "dd": _names("dt dd"),
    "td": _ROWS | _SECTIONS,
    "th": _ROWS | _SECTIONS,
    "tr": _names("tr") | _SECTIONS,
    **dict.fromkeys(_SECTIONS | {"caption", "colgroup"}, _SECTIONS | {"tr"}),
    "option": _names("option optgroup"),
    "head": _names("body"),
}
_ENDED_BY |= {name: _SECTIONS for name in _SECTIONS}
_INSIDE = {
    "li": _names("ul ol menu"),
    "dt": _names("dl"),
    "dd": _names("dl"),
    "tr": _names("table"),
    "td": _names("tr"),
    "th": _names("tr"),
    **dict.fromkeys(_SECTIONS, _names("table")),
    "option": _names("select datalist optgroup"),
}


class _Balance(HTMLParser):
    """Notes start tags that are not closed, end tags without a start, and elements outside of what they belong to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._open: list[tuple[str, int]] = []
        self.problems: list[tuple[int, str]] = []
        self.feed(text)
        self.close()
        self._unclosed(0)

    def _unclosed(self, depth: int) -> None:
        while len(self._open) > depth:
            name, start = self._open.pop()
            if name not in _MAY_STAY_OPEN:
                self.problems.append((start, f"<{name}> not closed"))

    def _position(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: object) -> None:
        while self._open and tag in _ENDED_BY.get(self._open[-1][0], ()):
            self._open.pop()
        names = {name for name, _ in self._open}
        if tag in _INSIDE and not names & _INSIDE[tag]:
            self.problems.append((self._position(), f"orphan <{tag}>"))
        if tag not in _VOID:
            self._open.append((tag, self._position()))

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID and any(name in ("svg", "math") for name, _ in self._open):
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        place = next((i for i in reversed(range(len(self._open))) if self._open[i][0] == tag), None)
        if place is None:
            self.problems.append((self._position(), f"stray </{tag}>"))
        else:
            self._unclosed(place + 1)
            self._open.pop()


@cache
def html_problems(text: str) -> list[tuple[int, str]]:
    """Return where HTML is not well formed, and how; no closing tag is missed where HTML lets it be left out."""
    return _Balance(text).problems


def _sources(problems: Sequence[tuple[int, str]], pieces: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, str]]:
    positions = [position for position, _, _ in pieces]
    for at, kind in problems:
        position, start, _ = pieces[max(0, bisect_right(positions, at) - 1)]
        yield start + at - position, kind


def html_defects(source: str, text: str, spans: Spans) -> Counter[str]:
    """Count the tags of kept HTML that are not balanced or stand alone, and were not so in the source; see above."""
    if not spans:
        return Counter()
    known = set(html_problems(source))
    problems = html_problems.__wrapped__(text)
    found = _sources(problems, kept_pieces(source, text, spans))
    return Counter(kind for at, kind in found if (at, kind) not in known)
