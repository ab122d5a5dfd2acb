"""The title and text of an HTML page, with blank lines between blocks so that segmentation finds them.

selectolax builds the tree of a browser and nothing is guessed. trafilatura was tried instead: it loses table rows, list
markers and the white space of code, breaks sentences at bold words and returns nothing for deeply nested pages.
"""

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
    "form|h[1-6]|header|hr|legend|li|main|ol|p|pre|section|summary|table|tbody|tfoot|thead|tr|ul"
).fullmatch
# Noncharacters of Unicode mark the structure in the text of a page: no valid text contains them.
_BREAK, _ITEM, _ITEM_END, _LINE, _CELL, _PRE = map(chr, range(0xFDD0, 0xFDD6))
_MARKS = {"br": _LINE, "td": _CELL, "th": _CELL}
_BLANK = re.compile(rf"^[\s{_LINE}{_CELL}{_PRE}]*")

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
# Elements without content, or whose content is not markup.
_CHILDLESS = re.compile(
    "area|base|body|br|col|embed|frame|head|hr|html|iframe|img|input|link|meta|noembed|noframes|param|plaintext|script|"
    "source|style|textarea|title|track|wbr|xmp"
).fullmatch
# The next element closes these, or they bound the parser's search for open paragraphs: they add no depth.
_SHALLOW = re.compile("caption|colgroup|dd|dt|li|option|p|table|tbody|td|tfoot|th|thead|tr").fullmatch
_FORMATTING = re.compile("a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u").fullmatch
_MAX_DEPTH = 512  # the limit of browsers
_MAX_FORMATTING_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Page:
    """The title and text of an HTML page."""

    title: str
    text: str


def _events(root: Any) -> Iterator[tuple[Any, bool]]:
    """Yield the start and end of each node in document order, without recursion; the flag is set at the end."""
    stack = [(root, False)]
    while stack:
        node, ends = stack.pop()
        yield node, ends
        if ends:
            continue
        stack.append((node, True))
        child = None if _DROPPED(node.tag) else node.last_child
        while child is not None:
            stack.append((child, False))
            child = child.prev


def _marked_text(root: Any) -> str:
    """Return the text of a tree with marks for its structure."""
    parts = []
    preformatted = 0
    for node, ends in _events(root):
        tag = node.tag
        if tag == "-text":
            text = "" if ends else node.text_content or ""
            # White space has no meaning outside <pre>; the bars keep that at the ends of the text.
            parts.append(_PRE + text if preformatted else " ".join(f"|{text}|".split())[1:-1])
        elif _BLOCK(tag):
            if tag == "pre":
                preformatted += -1 if ends else 1
            parts.append(_BREAK)
            if tag == "li":
                parts.append(_ITEM_END if ends else _ITEM)
                parts.append(_BREAK)
        elif not ends:
            parts.append(_MARKS.get(tag, ""))
    return "".join(parts)


def _blocks(marked: str) -> Iterator[str]:
    """Yield the blocks of a marked text that are not blank."""
    bullet = ""
    for block in marked.split(_BREAK):
        if block in (_ITEM, _ITEM_END):
            bullet = "- " if block == _ITEM else ""  # an empty item has no bullet
            continue
        filled = _BLANK.sub("", block)
        block = block.removesuffix(filled).replace(_CELL, "") + filled.replace(_CELL, " | ")  # only between cells
        if _PRE in block:
            text = block.replace(_PRE, "").replace(_LINE, "\n").strip("\n")
        else:
            text = "\n".join(" ".join(line.split()) for line in block.split(_LINE)).strip()
        if text.strip():
            yield bullet + text
            bullet = ""


class _Flatten:
    """Replacement of tags that are nested too deep: a parser's work for a tag grows with the number of open elements.

    A block's tags become ``<hr>`` and ``</p>``, which end a block as well and contain nothing; those of formatting and
    of unknown elements become ``<wbr>``, which has no effect.
    """

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []  # name, and whether it was replaced
        self._names: Counter[str] = Counter()  # of the open elements
        self._depth = 0  # of the open elements that add depth
        self._formatting = 0  # separate: a formatting element stays open after the end of its parent

    def _start(self, name: str) -> bool:
        if _FORMATTING(name):
            self._formatting += 1
            return self._formatting > _MAX_FORMATTING_DEPTH
        deep = not _SHALLOW(name)
        self._depth += deep
        replaced = deep and self._depth > _MAX_DEPTH
        self._open.append((name, replaced))
        self._names[name] += 1
        return replaced

    def _end(self, name: str) -> bool:
        if _FORMATTING(name):
            self._formatting = max(0, self._formatting - 1)
            return self._formatting >= _MAX_FORMATTING_DEPTH
        if not self._names[name]:
            return False
        while True:  # elements that are open inside it end as well
            last, replaced = self._open.pop()
            self._names[last] -= 1
            self._depth -= not _SHALLOW(last)
            if last == name:
                return replaced

    def __call__(self, match: re.Match[str]) -> str:
        """Return the start of a tag, replaced if it is nested too deep."""
        slash, name = match[1], match[2].lower()
        if _CHILDLESS(name) or not (self._end(name) if slash else self._start(name)):
            return match[0]
        if _BLOCK(name):
            return "</p" if slash else "<hr"
        return "</wbr" if slash else "<wbr"


def html_text(html: str) -> Page:
    """Return the title and text of an HTML page, or of anything that a browser would read.

    The title is that of the head or else the first heading. The text has no scripts, styles and navigation, blank lines
    between blocks and table rows, and a dash before each list item.
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtraError("selectolax", "data") from error
    if html.count("<") > _MAX_FORMATTING_DEPTH:
        html = _TAG.sub(_Flatten(), html)
    parser = LexborHTMLParser(html)
    nodes = (parser.css_first(selector) for selector in ("title", "h1"))
    titles = (" ".join(node.text().split()) for node in nodes if node is not None)
    text = "" if parser.body is None else "\n\n".join(_blocks(_marked_text(parser.body)))
    return Page(next(filter(None, titles), ""), text)
