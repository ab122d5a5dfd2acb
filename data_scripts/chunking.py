"""Chunking: a document becomes runs of consecutive units, of random length as in Provence or of a fixed length.

Chirkova et al., "Provence: efficient and robust context pruning for retrieval-augmented generation", ICLR 2025:
chunks of 1 to 10 sentences make the model robust to the passage lengths of different retrievers.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from secateur.data_scripts.records import Chunk, Document, read_records
from secateur.data_scripts.validation import Checked, Count, not_empty, unique_ids
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import InputError
from secateur.models.segmentation import format_of, segment
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage

_TO_LAST_SPACE = re.compile(r".*\s", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChunkOptions(Checked):
    """Options of chunking.

    Attributes:
        units: Number of units per chunk; drawn for each chunk if unset.
        max_units: Largest number of units that is drawn.
        overlap: Number of units that a chunk shares with the previous one; fewer if that chunk is shorter.
        max_characters: Length limit of a chunk; a longer unit is cut, at white space if possible.
        seed: Random seed; combined with the document's id.
        segmenter: Sentence segmenter of the model that will be trained.
    """

    units: Count | None = None
    max_units: Count = 10
    overlap: Annotated[int, Field(ge=0)] = 0
    max_characters: Count = 8000
    seed: int = 13
    segmenter: str = "nupunkt"

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        size = self.units or self.max_units
        if self.overlap >= size:
            problem = f"must be less than the {size} units of a chunk, not {self.overlap}"
            raise InputError("overlap", problem, "use a smaller number")


@dataclass(slots=True)
class ChunkReport:
    """Numbers of documents read, chunks written, documents without text, and units cut for their length."""

    documents: int = 0
    chunks: int = 0
    blank: int = 0
    cut_units: int = 0


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space at its ends; a blank span is returned unchanged."""
    body = text[start:end]
    if not body.strip():
        return start, end
    return start + len(body) - len(body.lstrip()), end - len(body) + len(body.rstrip())


def _pieces(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield spans of at most ``limit`` characters that tile a unit, cut after white space in their second half."""
    while end - start > limit:
        space = _TO_LAST_SPACE.match(text, start + max(0, limit // 2 - 1), start + limit)
        cut = space.end() if space else start + limit
        yield start, cut
        start = cut
    yield start, end


def _spans(
    document: Passage, id: str, options: ChunkOptions, segmenter: Segmenter, report: ChunkReport
) -> Iterator[tuple[int, int]]:
    text, limit = document.text, options.max_characters
    units = segment(document, segmenter)
    # Seeded by document: its chunks do not depend on the other documents.
    seed = hashlib.sha256(f"{options.seed}\0{id}".encode("utf-8", "surrogatepass")).digest()
    draws = random.Random(seed)
    first = 0
    while first < len(units):
        size = draws.randint(1, options.max_units) if options.units is None else options.units
        start, last = units[first].start, min(first + size, len(units)) - 1
        while last > first and units[last].end - start > limit:
            last -= 1
        report.cut_units += units[last].end - start > limit
        yield from _pieces(text, start, units[last].end, limit)
        if last == len(units) - 1:
            return
        first += max(1, last + 1 - first - options.overlap)


def chunk_document(
    document: Document, options: ChunkOptions, segmenter: Segmenter, report: ChunkReport
) -> Iterator[Chunk]:
    """Yield consecutive units of a document as chunks, in time linear in its length; the report counts them.

    The chunks have no white space at their ends: ``document.text[chunk.start:chunk.end] == chunk.text``. They depend on
    the document and the options alone. Their format is that of the document: a piece may look like another one.
    """
    before = report.chunks
    passage = Passage(document.text, format=document.format)
    passage = replace(passage, format=format_of(passage))
    for piece in _spans(passage, document.id, options, segmenter, report):
        start, end = trimmed(document.text, *piece)
        text = document.text[start:end]
        if text.strip():
            report.chunks += 1
            id = f"{document.id}:{start}-{end}"
            yield Chunk(id, document.id, text, document.title, start, end, passage.format)
    report.documents += 1
    report.blank += report.chunks == before


def chunk(documents: Path, out: Path, options: ChunkOptions) -> ChunkReport:
    """Cut a file of `Document` records into a file of `Chunk` records, which is written only if the run succeeds.

    Raises:
        DataError: A record is not valid, two have one id, or none has a text.
    """
    report = ChunkReport()
    segmenter = get_segmenter(options.segmenter)
    chunks = (
        one
        for document in unique_ids(read_records(documents, Document), documents)
        for one in chunk_document(document, options, segmenter, report)
    )
    write_json_lines(out, not_empty(chunks, f"{documents}: holds no document with text"))
    return report
