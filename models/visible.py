"""What the network reads of a text: everything but the hidden spans of its units, and long words in pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.types import Unit

# WordPiece makes one unknown token of a word of more than 100 characters. Chinese, Japanese and Korean characters are
# words of their own.
_LONG_WORD = re.compile(r"[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{101,}")
_PIECE = 64  # characters
_JOINS = re.compile(
    r"(?:(?<=[^\W_])[-\u00ad\u2010]|(?<=[-\u2010]))[ \t]*(?:\r\n?|\n)[ \t]*(?=[^\W_])|&(?:shy|zwnj|zwj);"
    r"|(?<=&)amp;|&(?=[a-zA-Z]{4,7};)|(?<=&[a-zA-Z])[a-z]{3,6};"
)


@dataclass(frozen=True, slots=True)
class VisibleText:
    """The text that the network reads, made of pieces of the source with a space or nothing between them.

    Attributes:
        text: The text.
        starts: int32[pieces], where each piece starts in it, ascending.
        sources: int32[pieces], where each piece starts in the source.
    """

    text: str
    starts: NDArray[np.int32]
    sources: NDArray[np.int32]

    def to_source(self, offsets: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return spans of the text, as int32[n, 2], as spans of the source."""
        if len(self.starts) < 2:
            return offsets + (self.sources - self.starts)
        shift = self.sources - self.starts
        first = np.searchsorted(self.starts, offsets[:, 0], side="right") - 1
        # The end of a span is where its last character ends; an empty span has none.
        last = np.searchsorted(self.starts, np.maximum(offsets[:, 1] - 1, offsets[:, 0]), side="right") - 1
        return np.stack([offsets[:, 0] + shift[first], offsets[:, 1] + shift[last]], axis=1).astype(np.int32)


def joins(text: str, start: int, end: int) -> bool:
    """Return whether a hidden span lies inside of a word: what parts it at the end of a line, or some of an entity."""
    match = _JOINS.match(text, start)
    return match is not None and match.end() == end


def visible_text(text: str, units: Sequence[Unit]) -> VisibleText:
    """Return what the network reads of a text that units tile.

    There is a space for each hidden span, but nothing for one inside of a word; see `joins`.
    """
    found: list[tuple[int, int, str]] = []  # start, end, and what stands before it
    start, gap = 0, ""
    for hidden, end in [*(span for unit in units for span in unit.hidden), (len(text), len(text))]:
        for match in _LONG_WORD.finditer(text, start, hidden):
            for cut in range(match.start() + _PIECE, match.end(), _PIECE):
                found.append((start, cut, gap))
                start, gap = cut, " "
        if start < hidden:
            found.append((start, hidden, gap))
            gap = " "
        start, gap = end, "" if joins(text, hidden, end) else " "
    if not found:
        found.append((0, 0, ""))
    sources = np.asarray([start for start, _, _ in found], dtype=np.int32)
    found[0] = (*found[0][:2], "")
    lengths = [end - start + len(gap) for start, end, gap in found]
    ends = np.cumsum(lengths)
    starts = ends - [end - start for start, end, _ in found]
    return VisibleText("".join(gap + text[a:b] for a, b, gap in found), starts.astype(np.int32), sources)
