"""Documents to chunks: runs of consecutive units, their lengths drawn at random as in Provence, or all the same.

Chirkova et al., "Provence: efficient and robust context pruning for retrieval-augmented generation", ICLR 2025: a
chunk of 1 to 10 sentences makes the model robust to whatever passages a retriever holds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secateur.data_scripts.records import Chunk, Document, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, shown
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How documents are cut.

    Attributes:
        units: of each chunk; None draws a number for each.
        max_units: most that are drawn.
        overlap: units that a chunk shares with the one before it; fewer where that chunk is short.
        max_characters: of a chunk; a longer unit is cut at white space where it can be.
        seed: of the draws, together with the document's id.
        segmenter: sentence segmenter of the model to be.
    """

    units: int | None = None
    max_units: int = 10
    overlap: int = 0
    max_characters: int = 8000
    seed: int = 13
    segmenter: str = "nupunkt"

    def __post_init__(self) -> None:
        for field, value, least in (
            ("--units", 1 if self.units is None else self.units, 1),
            ("--max-units", self.max_units, 1),
            ("--overlap", self.overlap, 0),
            ("--max-characters", self.max_characters, 1),
        ):
            if value < least:
                raise InputError(field, f"must be at least {least}, not {shown(value)}", "give a larger number")
        most = self.max_units if self.units is None else self.units
        if self.overlap >= most:
            raise InputError("--overlap", f"{self.overlap} units are not fewer than a chunk's {most}", "give fewer")


@dataclass(slots=True)
class ChunkReport:
    """What chunking did.

    Attributes:
        documents: read.
        chunks: written.
        blank: documents without a unit.
        cut_units: units that were longer than a chunk may be.
    """

    documents: int = 0
    chunks: int = 0
    blank: int = 0
    cut_units: int = 0


def _pieces(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of at most ``most`` characters that tile a unit, cut behind white space in their second half."""
    while end - start > most:
        cut, least = start + most, start + max(1, most // 2)
        while cut > least and not text[cut - 1].isspace():
            cut -= 1
        if not text[cut - 1].isspace():
            cut = start + most
        yield start, cut
        start = cut
    yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _spans(
    document: Document, options: ChunkOptions, segmenter: Segmenter, report: ChunkReport
) -> Iterator[tuple[int, int]]:
    text, most = document.text, options.max_characters
    units = segment(Passage(text), segmenter)
    # By document: the draws of one do not depend on what else there is.
    seed = hashlib.sha256(f"{options.seed}\0{document.id}".encode("utf-8", "surrogatepass")).digest()
    draws = random.Random(seed)
    first = 0
    while first < len(units):
        wanted = draws.randint(1, options.max_units) if options.units is None else options.units
        start, last = units[first].start, min(first + wanted, len(units)) - 1
        while last > first and units[last].end - start > most:
            last -= 1
        report.cut_units += units[last].end - start > most
        yield from _pieces(text, start, units[last].end, most)
        if last == len(units) - 1:
            return
        first += max(1, last + 1 - first - options.overlap)


def chunk_document(
    document: Document, options: ChunkOptions, segmenter: Segmenter | None = None, report: ChunkReport | None = None
) -> Iterator[Chunk]:
    """Cut a document into chunks of consecutive units.

    Args:
        document: its text may be long; the time it takes grows with its length.
        options: how.
        segmenter: sentence segmenter; the default is that of the options.
        report: counts go here.

    Yields:
        Chunks in order, ``document.text[chunk.start:chunk.end] == chunk.text``, without white space at their ends.
        Those of one document and seed are the same whatever other documents there are.
    """
    segmenter = segmenter or get_segmenter(options.segmenter)
    for piece in _spans(document, options, segmenter, report or ChunkReport()):
        start, end = _trimmed(document.text, *piece)
        if start < end:
            yield Chunk(
                f"{document.id}:{start}-{end}", document.id, document.text[start:end], document.title, start, end
            )


def _chunks(documents: Path, options: ChunkOptions, report: ChunkReport) -> Iterator[Chunk]:
    segmenter = get_segmenter(options.segmenter)
    ids: set[str] = set()
    for document in read_records(documents, Document):
        if document.id in ids:
            raise DataError(f"{documents}: the id {document.id!r} stands twice; give each document an id of its own")
        ids.add(document.id)
        before = report.chunks
        report.documents += 1
        for chunk in chunk_document(document, options, segmenter, report):
            report.chunks += 1
            yield chunk
        report.blank += report.chunks == before
    if not report.chunks:
        raise DataError(f"{documents}: its {report.documents} documents hold no text")


def chunk(documents: Path, out: Path, options: ChunkOptions) -> ChunkReport:
    """Cut a file of documents into chunks.

    Args:
        documents: records of documents.
        out: the chunks; written whole or not at all.
        options: how.

    Raises:
        DataError: the file cannot be read or written, an id stands twice, or there is no text.
    """
    report = ChunkReport()
    write_json_lines(out, _chunks(documents, options, report))
    return report
