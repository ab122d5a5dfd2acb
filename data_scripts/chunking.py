"""Chunking: a document becomes runs of consecutive units, of random length as in Provence or of a fixed length.

Chirkova et al., "Provence: efficient and robust context pruning for retrieval-augmented generation", ICLR 2025:
chunks of 1 to 10 sentences make the model robust to the passage lengths of different retrievers.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secateur.data_scripts.records import Chunk, Document, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, shown
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage

_TO_LAST_SPACE = re.compile(r".*\s", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """Options of chunking.

    Attributes:
        units: Units per chunk; None draws a number for each chunk.
        max_units: Largest number that is drawn.
        overlap: Units that a chunk shares with the previous one; fewer if that chunk is shorter.
        max_characters: Length limit of a chunk; a longer unit is cut, at white space if possible.
        seed: Random seed; combined with the document's id.
        segmenter: Sentence segmenter of the model that will be trained.

    Raises:
        InputError: A value is out of range.
    """

    units: int | None = None
    max_units: int = 10
    overlap: int = 0
    max_characters: int = 8000
    seed: int = 13
    segmenter: str = "nupunkt"

    def __post_init__(self) -> None:
        for field, value, minimum in (
            ("--units", 1 if self.units is None else self.units, 1),
            ("--max-units", self.max_units, 1),
            ("--overlap", self.overlap, 0),
            ("--max-characters", self.max_characters, 1),
        ):
            if value < minimum:
                raise InputError(field, f"must be at least {minimum}, not {shown(value)}", "use a larger number")
        size = self.max_units if self.units is None else self.units
        if self.overlap >= size:
            problem = f"must be less than the {size} units of a chunk, not {self.overlap}"
            raise InputError("--overlap", problem, "use a smaller number")


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
    document: Document, options: ChunkOptions, segmenter: Segmenter, report: ChunkReport
) -> Iterator[tuple[int, int]]:
    text, limit = document.text, options.max_characters
    units = segment(Passage(text, format=document.format), segmenter)
    # Seeded by document: its chunks do not depend on the other documents.
    seed = hashlib.sha256(f"{options.seed}\0{document.id}".encode("utf-8", "surrogatepass")).digest()
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
    document: Document, options: ChunkOptions, segmenter: Segmenter | None = None, report: ChunkReport | None = None
) -> Iterator[Chunk]:
    """Cut a document into chunks of consecutive units.

    Args:
        document: A document of any length; time is linear in it.
        options: Chunking options.
        segmenter: Sentence segmenter; default: that of the options.
        report: Where to count.

    Yields:
        Chunks in order, without white space at their ends: ``document.text[chunk.start:chunk.end] == chunk.text``.
        They depend on the document and the options alone.
    """
    segmenter = segmenter or get_segmenter(options.segmenter)
    for piece in _spans(document, options, segmenter, report or ChunkReport()):
        start, end = trimmed(document.text, *piece)
        text = document.text[start:end]
        if text.strip():
            id = f"{document.id}:{start}-{end}"
            yield Chunk(id, document.id, text, document.title, start, end, document.format)


def _chunks(documents: Path, options: ChunkOptions, report: ChunkReport) -> Iterator[Chunk]:
    segmenter = get_segmenter(options.segmenter)
    ids: set[str] = set()
    for document in read_records(documents, Document):
        if document.id in ids:
            raise DataError(f"{documents}: the id {document.id!r} is not unique; give each document its own id")
        ids.add(document.id)
        before = report.chunks
        report.documents += 1
        for chunk in chunk_document(document, options, segmenter, report):
            report.chunks += 1
            yield chunk
        report.blank += report.chunks == before
    if not report.chunks:
        raise DataError(f"{documents}: none of its {report.documents} documents has text")


def chunk(documents: Path, out: Path, options: ChunkOptions) -> ChunkReport:
    """Cut a file of documents into chunks.

    Args:
        documents: File of `Document` records.
        out: File of `Chunk` records; written only if the run succeeds.
        options: Chunking options.

    Raises:
        DataError: A file cannot be read or written, an id is not unique, or no document has text.
    """
    report = ChunkReport()
    write_json_lines(out, _chunks(documents, options, report))
    return report
