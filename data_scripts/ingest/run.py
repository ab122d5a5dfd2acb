"""The ingest step: reads documents of many formats and writes each distinct one as a record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from secateur.data_scripts.ingest.sources import DOCUMENT_LIMITS, Columns, Found, LeftOut, find
from secateur.data_scripts.ingest.tables import TABLES, Row, read_table
from secateur.data_scripts.ingest.texts import read_file
from secateur.data_scripts.near_duplicates import NearDuplicates, digest, normalised
from secateur.data_scripts.records import Document
from secateur.data_scripts.reports import Problems, printable
from secateur.data_scripts.validation import Checked, Share
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.text_files import MIB, Limits
from secateur.models.errors import DataError, InputError, MissingExtraError

# Reasons to leave something out that are no problem of the sources.
_EXPECTED = ("empty", "duplicate", "near-duplicate", "unknown format", "binary file")

SameIds = Literal["error", "suffix"]
Mebibytes = Annotated[float, Field(gt=0, le=1 << 20)]


@dataclass(frozen=True, slots=True)
class IngestOptions(Checked):
    """Options of ingestion.

    Attributes:
        near_duplicates: Lowest similarity of word shingles of near-duplicates; 0 keeps them all.
        same_ids: Treatment of a table's id that occurs twice with different texts. Files of the same name in different
            sources always get a suffix.
        max_document_mib: Size limit of a text, Markdown or HTML file, of a PDF's text, and of a row of a table.
        max_unpacked_mib: Size limit of an unpacked ``.gz`` or Parquet file; if unset, 1024, or 100 times the size of
            the file if that is more.
        strict: Whether to stop at the first file or row that cannot be read, and write nothing.
    """

    near_duplicates: Share = 0.9
    same_ids: SameIds = "error"
    max_document_mib: Mebibytes = DOCUMENT_LIMITS.line / MIB
    max_unpacked_mib: Mebibytes | None = None
    strict: bool = False

    def limits(self) -> Limits:
        """Return the size limits of the readers."""
        unpacked = None if self.max_unpacked_mib is None else int(self.max_unpacked_mib * MIB)
        return Limits(int(self.max_document_mib * MIB), unpacked)


@dataclass(slots=True)
class IngestReport:
    """Numbers of documents written and of files found, and what did not become a document, by reason."""

    documents: int = 0
    files: int = 0
    left_out: Problems = field(default_factory=Problems)

    @property
    def problems(self) -> int:
        """Number of files and rows that could not be read or were refused."""
        return sum(count for reason, count in self.left_out.counts.items() if reason not in _EXPECTED)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the printed report."""
        counts = self.left_out.counts
        yield f"{self.documents} documents from {self.files} files; {counts.total()} left out"
        for reason, count in counts.most_common():
            yield f"  {reason}: {count}"
            yield from (f"    {place}" for place in self.left_out.places[reason])


def _entries(found: Found, columns: Columns, limits: Limits) -> Iterator[Row | LeftOut]:
    """Yield the documents of a file; a failure ends this file only."""
    where = str(found.path)
    try:
        if found.kind in TABLES:
            yield from read_table(found, columns, limits)
        else:
            read = read_file(found, limits)
            yield read if isinstance(read, LeftOut) else Row(read, named=False, where=where)
    except (InputError, MissingExtraError):
        raise
    except DataError as error:
        yield LeftOut("cannot be read", str(error).removeprefix(f"{where}: "), where)
    except Exception as error:  # the libraries behind the formats raise many kinds
        yield LeftOut("cannot be read", f"{type(error).__name__}: {error}", where)


class _Ingestion:
    """One run: its options, its report, and the ids and texts of the documents so far."""

    def __init__(self, columns: Columns, options: IngestOptions) -> None:
        self.report = IngestReport()
        self._columns = columns
        self._options = options
        self._near = NearDuplicates(options.near_duplicates) if options.near_duplicates else None
        self._ids: dict[str, str] = {}  # where each id was read
        self._texts: dict[str, str] = {}  # id of each text, by digest

    def _problem(self, document: Document, where: str) -> LeftOut | None:
        """Return why a document is left out; remember its text if it is not."""
        text = normalised(document.text)
        if not text:
            return LeftOut("empty", where=where)
        key = digest(text)
        if key in self._texts:
            return LeftOut("duplicate", f"the same text as {self._texts[key]!r}", where)
        self._texts[key] = document.id
        near = self._near.add(document.id, text, unless_found=True) if self._near else []
        return LeftOut("near-duplicate", f"nearly the same text as {near[0]!r}", where) if near else None

    def _with_own_id(self, document: Document, entry: Row) -> Document:
        """Return a document with an id that no other has."""
        id, number = document.id, 1
        if id in self._ids and entry.named and self._options.same_ids == "error":
            raise DataError(
                f"{entry.where}: the id {id!r} is already used at {self._ids[id]} with another text; give each "
                "document its own id, choose another --id-column, or use --same-ids suffix"
            )
        while id in self._ids:
            number += 1
            id = f"{document.id}~{number}"
        self._ids[id] = entry.where
        return replace(document, id=id)

    def documents(self, sources: Sequence[Path], out: Path) -> Iterator[Document]:
        """Yield the documents; a directory that is read again may contain the output of the last run."""
        report, limits, output = self.report, self._options.limits(), os.path.realpath(out)
        for found in (found for source in sources for found in find(source)):
            if isinstance(found, Found) and os.path.realpath(found.path) == output:
                continue
            report.files += 1
            for entry in _entries(found, self._columns, limits) if isinstance(found, Found) else (found,):
                left = entry if isinstance(entry, LeftOut) else self._problem(entry.document, entry.where)
                if left is not None:
                    report.left_out.add(left.reason, f"{left.where}: {left.detail}" if left.detail else left.where)
                    if self._options.strict and report.problems:
                        raise DataError(f"{printable(left.where)}: {left.reason}: {printable(left.detail)}")
                elif isinstance(entry, Row):
                    report.documents += 1
                    yield self._with_own_id(entry.document, entry)
        if not report.documents:
            raise DataError("\n".join([f"{', '.join(map(str, sources))}: no document found", *report.lines()]))


def ingest(
    sources: Sequence[Path], out: Path, columns: Columns | None = None, options: IngestOptions | None = None
) -> IngestReport:
    """Read documents from files and walked directories, and write a record for each that has a text of its own.

    Files and rows that cannot be read are counted and skipped, or with ``strict`` raise `DataError`. So do a missing
    source, an id that occurs twice, and no document at all. Nothing is fetched from the network, and the file is
    written only if the run succeeds. `InputError`: A table that the user named lacks a column.
    """
    ingestion = _Ingestion(columns or Columns(), options or IngestOptions())
    write_json_lines(out, ingestion.documents(sources, out))
    return ingestion.report
