"""The text of an HTML page, its blocks parted by blank lines so that segmentation sees them."""

from __future__ import annotations

import re
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
        self._mark = ""
        self._preformatted = 0

    def add(self, text: str) -> None:
        # White space of the source means nothing outside <pre>; a line break of the page is added as such.
        self._parts.append(text if self._preformatted else " ".join(f"|{text}|".split())[1:-1])

    def line_break(self) -> None:
        self._parts.append("\n")

    def cell(self) -> None:
        if "".join(self._parts).strip():
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
    parser = LexborHTMLParser(html)
    if parser.body is None:
        return Page(_title(parser), "")
    found = _Text()
    for node, closes in _events(parser.body):
        found.node(node, closes)
    found.flush()
    return Page(_title(parser), "\n\n".join(found.blocks))
