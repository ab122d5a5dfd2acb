"""Queries without a model: the questions of FAQs, and headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from secateur.data_scripts.records import Chunk, Query

_MARK = r"(?:#{1,6}\s+|\*\*|[-*•]\s+|\d{1,3}[.)]\s+|Q(?:uestion)?\s*\d*\s*[:.)]\s*)*"
_QUESTION = re.compile(rf"^{_MARK}(?P<text>[^\n?？]{{8,200}}[?？])\**\s*$", re.MULTILINE | re.IGNORECASE)
_HEADING = re.compile(
    r"^(?:#{1,6}\s+(?P<marked>\S[^\n]{2,120}?)\s*#*|(?P<under>\S[^\n]{2,120})\n(?:={3,}|-{3,}))\s*$", re.MULTILINE
)
_FEWEST_WORDS_BEHIND = 5  # a heading whose text is shorter heads nothing


def _answered(chunk: Chunk, end: int, following: int) -> bool:
    return len(chunk.text[end:following].split()) >= _FEWEST_WORDS_BEHIND


def _lines(chunk: Chunk) -> Iterator[tuple[str, str]]:
    """Yield style and text of the lines of a chunk that ask or name what the text behind them says."""
    found = [(match, "faq", match["text"]) for match in _QUESTION.finditer(chunk.text)]
    questions = {match.start() for match, _, _ in found}
    for match in _HEADING.finditer(chunk.text):
        if match.start() not in questions:
            heading = match["marked"] or match["under"]
            found.append((match, "heading", heading.strip(" *#")))
    found.sort(key=lambda item: item[0].start())
    ends = [*(match.start() for match, _, _ in found[1:]), len(chunk.text)][: len(found)]
    for (match, style, text), following in zip(found, ends, strict=True):
        if _answered(chunk, match.end(), following):
            yield style, text.strip()


def queries_by_rule(chunks: Iterable[Chunk]) -> Iterator[Query]:
    """Yield a query for each question of an FAQ (``faq``) and each Markdown heading (``heading``) with text behind it.

    A heading is asked together with its document's title, without which it often says nothing. The same words are one
    query, of the chunk in which they stand first.

    Args:
        chunks: in any order.

    Yields:
        Queries with ids ``CHUNK-rN``, N from 0.
    """
    seen: set[str] = set()
    for chunk in chunks:
        number = 0
        for style, text in _lines(chunk):
            named = style == "faq" or not chunk.title or chunk.title.lower() in text.lower()
            query = text if named else f"{chunk.title}: {text}"
            key = " ".join(query.lower().split())
            if key in seen or key == chunk.title.lower():
                continue
            seen.add(key)
            yield Query(f"{chunk.id}-r{number}", query, chunk.id, chunk.document_id, style)
            number += 1
