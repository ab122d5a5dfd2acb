"""Queries without a model: the user's own, the questions of FAQs, and headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from secateur.data_scripts.near_duplicates import normalised
from secateur.data_scripts.records import Chunk, Query, parse_record
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError

_MARK = r"(?:#{1,6}\s+|\*\*|[-*•]\s+|\d{1,3}[.)]\s+|Q(?:uestion)?\s*\d*\s*[:.)]\s*)*"
_QUESTION = re.compile(rf"^{_MARK}(?P<text>[^\n?？]{{8,200}}[?？])\**\s*$", re.MULTILINE | re.IGNORECASE)
_HEADING = re.compile(
    r"^(?:#{1,6}\s+(?P<marked>\S[^\n]{2,120}?)\s*#*|(?P<under>\S[^\n]{2,120})\n(?:={3,}|-{3,}))\s*$", re.MULTILINE
)
_FEWEST_WORDS = 5  # of the text after a heading or a question; a shorter one is no answer


def own_queries(path: Path) -> Iterator[Query]:
    """Read queries: a text file with one on each line, or JSON lines of strings or of `Query` (``id`` is optional)."""
    as_json = path.name.removesuffix(".gz").endswith((".jsonl", ".json"))
    for number, line in filled_lines(path):
        where = f"{path}, line {number}"
        try:
            value = parse_json(line) if as_json else line.strip()
        except ValueError as error:
            raise DataError(f"{where}: is not JSON ({error})") from error
        row = {"query": value} if isinstance(value, str) else value
        query = parse_record({"id": f"own-{number}", **row} if isinstance(row, dict) else row, Query, where)
        if not query.query.strip():
            raise DataError(f"{where}: query: is blank; remove the line or fill it")
        yield replace(query, style=query.style or "own")


def _asking_lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield style and text of the lines that ask or name what the text after them says."""
    found = {match.start(): (match, "faq", match["text"]) for match in _QUESTION.finditer(text)}
    for match in _HEADING.finditer(text):
        found.setdefault(match.start(), (match, "heading", (match["marked"] or match["under"]).strip(" *#")))
    starts = sorted(found)
    for start, following in zip(starts, [*starts[1:], len(text)], strict=False):
        match, style, line = found[start]
        if len(text[match.end() : following].split()) >= _FEWEST_WORDS:
            yield style, line.strip()


def queries_by_rule(chunks: Iterable[Chunk]) -> Iterator[Query]:
    """Yield a query for each question of an FAQ (``faq``) and each Markdown heading (``heading``) with text after it.

    A heading is put after its document's title, because it often says nothing alone. Each text is one query, of the
    first chunk that has it. The ids are ``CHUNK-rN``, N from 0.
    """
    seen: set[str] = set()
    for chunk in chunks:
        number = 0
        for style, text in _asking_lines(chunk.text):
            named = style == "faq" or not chunk.title or chunk.title.lower() in text.lower()
            query = text if named else f"{chunk.title}: {text}"
            if normalised(query) in {*seen, chunk.title.lower()}:
                continue
            seen.add(normalised(query))
            yield Query(f"{chunk.id}-r{number}", query, chunk.id, chunk.document_id, style)
            number += 1
