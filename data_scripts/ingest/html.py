"""The text of an HTML page, its blocks parted by blank lines so that segmentation sees them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from secateur.models.errors import MissingExtraError

_DROPPED = re.compile(
    "script|style|nav|noscript|template|svg|head|iframe|object|canvas|select|button|textarea",
).fullmatch
_BLOCK = re.compile(
    "address|article|aside|blockquote|body|caption|center|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|"
    "form|h[1-6]|header|hr|legend|main|ol|p|section|summary|table|tbody|tfoot|thead|tr|ul"
).fullmatch
_CELLS = ("td", "th")

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
# Elements without content, or with content that is no markup.
_CHILDLESS = re.compile(
    "area|base|body|br|col|embed|frame|head|hr|html|iframe|img|input|link|meta|noembed|noframes|param|plaintext|script|"
    "source|style|textarea|title|track|wbr|xmp"
).fullmatch
# These are closed by what follows them, or bound the parser's search for open paragraphs: they are no depth.
_SHALLOW = re.compile("caption|colgroup|dd|dt|li|option|p|table|tbody|td|tfoot|th|thead|tr").fullmatch
_FORMATTING = re.compile("a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u").fullmatch
_DEEPEST = 512  # the depth at which browsers stop nesting, too
_DEEPEST_FORMATTING = 32


@dataclass(frozen=True, slots=True)
class Page:
    """What is read off an HTML page."""

    title: str
    text: str


def _events(root: Any) -> Iterator[tuple[Any, bool]]:
    """Yield each node with whether it closes, in document order; no recursion, since pages can nest deep."""
    stack = [(root, False)]
    while stack:
        node, closes = stack.pop()
        yield node, closes
        if closes:
            continue
        stack.append((node, True))
        if _DROPPED(node.tag):
            continue
        child = node.last_child
        while child is not None:
            stack.append((child, False))
            child = child.prev


class _Text:
    """The blocks as they come."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._parts: list[str] = []
        self._filled = False  # whether they hold more than white space
        self._mark = ""
        self._preformatted = 0

    def add(self, text: str) -> None:
        # White space of the source means nothing outside <pre>; a line break of the page is added as such.
        self._parts.append(text if self._preformatted else " ".join(f"|{text}|".split())[1:-1])
        self._filled = self._filled or not text.isspace()

    def line_break(self) -> None:
        self._parts.append("\n")

    def cell(self) -> None:
        if self._filled:
            self._parts.append(" | ")

    def flush(self) -> None:
        text = "".join(self._parts)
        if not self._preformatted:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
        text = text.strip("\n") if self._preformatted else text.strip()
        if text.strip():
            self.blocks.append(self._mark + text)
            self._mark = ""
        self._parts.clear()
        self._filled = False

    def item(self, closes: bool) -> None:
        self.flush()
        self._mark = "" if closes else "- "  # an empty item leaves no mark behind

    def preformatted(self, closes: bool) -> None:
        self.flush()
        self._preformatted += -1 if closes else 1

    def node(self, node: Any, closes: bool) -> None:
        """Take in that a node begins or ends."""
        tag = node.tag
        if tag == "pre":
            self.preformatted(closes)
        elif tag == "li":
            self.item(closes)
        elif _BLOCK(tag):
            self.flush()
        elif not closes:
            if tag == "-text":
                self.add(node.text_content or "")
            elif tag == "br":
                self.line_break()
            elif tag in _CELLS:
                self.cell()


class _Flatten:
    """Renames the tags that are nested too deep, since a parser's work for a tag grows with the number of open ones.

    All that they mean to `_Text` is that a block ends. So a block's tags become ``<hr>`` and ``</p>``, which end one,
    too, and hold nothing; those of formatting and of unknown elements become ``<wbr>``, which means nothing.
    """

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []  # name, and whether it was renamed
        self._names: Counter[str] = Counter()  # of these
        self._depth = 0  # of these, those that count
        self._formatting = 0  # an element of formatting stays open behind the end of its parent

    def _start(self, name: str) -> bool:
        if _FORMATTING(name):
            self._formatting += 1
            return self._formatting > _DEEPEST_FORMATTING
        counts = not _SHALLOW(name)
        self._depth += counts
        renamed = counts and self._depth > _DEEPEST
        self._open.append((name, renamed))
        self._names[name] += 1
        return renamed

    def _end(self, name: str) -> bool:
        if _FORMATTING(name):
            self._formatting = max(0, self._formatting - 1)
            return self._formatting >= _DEEPEST_FORMATTING
        if not self._names[name]:
            return False
        while True:  # whatever is open in the element ends with it
            last, renamed = self._open.pop()
            self._names[last] -= 1
            self._depth -= not _SHALLOW(last)
            if last == name:
                return renamed

    def __call__(self, match: re.Match[str]) -> str:
        """Return the beginning of a tag, renamed if need be."""
        closes, name = match.group(1), match.group(2).lower()
        if _CHILDLESS(name) or not (self._end(name) if closes else self._start(name)):
            return match.group()
        if _BLOCK(name) or name == "pre":
            return "</p" if closes else "<hr"
        return "</wbr" if closes else "<wbr"


def _title(parser: Any) -> str:
    for selector in ("title", "h1"):
        node = parser.css_first(selector)
        if node is not None and node.text().strip():
            return " ".join(node.text().split())
    return ""


def html_text(html: str) -> Page:
    """Return an HTML page's title and text.

    Args:
        html: the page; whatever a browser would read.

    Returns:
        The title (that of the head, else the first heading), and the text without scripts, styles and navigation:
        blocks and table rows parted by blank lines, list items marked with a dash.

    Raises:
        MissingExtraError: `selectolax` is not installed.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtraError("selectolax", "data") from error
    if html.count("<") > _DEEPEST_FORMATTING:
        html = _TAG.sub(_Flatten(), html)
    parser = LexborHTMLParser(html)
    if parser.body is None:
        return Page(_title(parser), "")
    found = _Text()
    for node, closes in _events(parser.body):
        found.node(node, closes)
    found.flush()
    return Page(_title(parser), "\n\n".join(found.blocks))
