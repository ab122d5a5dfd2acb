"""The ingesting step: documents of many formats in, one file of records out, nothing in it twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from secateur.data_scripts.ingest.sources import DEFAULT_LIMITS, Columns, Found, LeftOut, find
from secateur.data_scripts.ingest.tables import Row, read_table
from secateur.data_scripts.ingest.texts import read_file
from secateur.data_scripts.near_duplicates import NearDuplicates, check_threshold, digest, normalised
from secateur.data_scripts.printable import printable
from secateur.data_scripts.records import Document
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.text_files import MIB, Limits
from secateur.models.errors import DataError, InputError, MissingExtraError

_SHOWN = 5  # places that are named of each reason
_TABLES = ("lines", "csv", "parquet", "dataset")

# What is left out as it should be; anything else is a problem of the sources.
_EXPECTED = ("empty", "duplicate", "near-duplicate", "unknown format", "binary file")

SameIds = Literal["error", "suffix"]


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How documents are taken in.

    Attributes:
        near_duplicates: similarity of word shingles from which a document is a near-duplicate; 0 keeps them.
        same_ids: what happens where a table's id occurs twice with different texts. Files of the same name in
            different sources get a number behind their id in any case.
        max_document_mib: of a text, Markdown or HTML file, of a PDF's text, and of a row of a table.
        max_unpacked_mib: that a ``.gz`` or Parquet file may unpack to; None: 1024, or 100 times its size where that
            is more.
        strict: stop at the first file or row that cannot be read, and write nothing.

    Raises:
        InputError: one is out of range.
    """

    near_duplicates: float = 0.9
    same_ids: SameIds = "error"
    max_document_mib: float = DEFAULT_LIMITS.line / MIB
    max_unpacked_mib: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        check_threshold(self.near_duplicates)
        for name, value in (("document", self.max_document_mib), ("unpacked", self.max_unpacked_mib)):
            if value is not None and not 0 < value <= 1 << 20:
                raise InputError(f"--max-{name}-mib", f"must be in 0 to 1048576, not {value}", "give e.g. 1024")

    def limits(self) -> Limits:
        """Return what readers hold to."""
        unpacked = None if self.max_unpacked_mib is None else int(self.max_unpacked_mib * MIB)
        return Limits(int(self.max_document_mib * MIB), unpacked)


@dataclass(slots=True)
class IngestReport:
    """What ingesting did.

    Attributes:
        documents: written.
        files: read, or tried.
        left_out: by reason.
        places: the first places of each reason, with what is wrong.
    """

    documents: int = 0
    files: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, left: LeftOut) -> None:
        """Note something that does not become a document."""
        self.left_out[left.reason] += 1
        places = self.places.setdefault(left.reason, [])
        if len(places) < _SHOWN:
            place = f"{left.where}: {left.detail}" if left.detail else left.where
            places.append(printable(place).replace("\n", " "))

    @property
    def problems(self) -> int:
        """How many files and rows could not be read, or were refused."""
        return sum(count for reason, count in self.left_out.items() if reason not in _EXPECTED)

    def lines(self) -> Iterator[str]:
        """Yield the report, a line at a time."""
        yield f"{self.documents} documents from {self.files} files; {self.left_out.total()} left out"
        for reason, count in self.left_out.most_common():
            yield f"  {reason}: {count}"
            for place in self.places[reason]:
                yield f"    {place}"


@dataclass(slots=True)
class _Seen:
    """What has come already.

    Attributes:
        ids: of documents, with where each stands.
        texts: digests of texts, with the id of the document that has it.
        near: index of near-duplicates; None where they may stay.
    """

    near: NearDuplicates | None
    ids: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def duplicate(self, document: Document, where: str) -> LeftOut | None:
        """Return why a document is left out as a duplicate of an earlier one; remember it where it is none."""
        text = normalised(document.text)
        key = digest(text)
        if key in self.texts:
            return LeftOut(where, "duplicate", f"the same text as {self.texts[key]!r}")
        self.texts[key] = document.id
        if self.near is not None:
            found = self.near.add(document.id, text, unless_found=True)
            if found:
                return LeftOut(where, "near-duplicate", f"nearly the same text as {found[0]!r}")
        return None

    def free_id(self, id: str) -> str:
        """Return the id, or with the first number behind it under which none stands."""
        number, candidate = 1, id
        while candidate in self.ids:
            number += 1
            candidate = f"{id}~{number}"
        return candidate


def _entries(found: Found, columns: Columns, limits: Limits) -> Iterator[Row | LeftOut]:
    """Yield what is read off a file. Whatever is wrong with it, the files behind it are still read."""
    where = str(found.path)
    try:
        if found.kind in _TABLES:
            yield from read_table(found, columns, limits)
        else:
            read = read_file(found, limits)
            yield read if isinstance(read, LeftOut) else Row(read, named=False, where=where)
    except (InputError, MissingExtraError):
        raise
    except DataError as error:
        yield LeftOut(where, "cannot be read", str(error).removeprefix(f"{where}: "))
    except Exception as error:  # the libraries behind the formats raise many kinds
        yield LeftOut(where, "cannot be read", f"{type(error).__name__}: {error}")


def _found(sources: Sequence[Path], out: Path) -> Iterator[Found | LeftOut]:
    last_output = os.path.realpath(out)
    for source in sources:
        for found in find(source):
            # A folder that is read again may hold the last run's output.
            if isinstance(found, LeftOut) or os.path.realpath(found.path) != last_output:
                yield found


def _documents(
    sources: Sequence[Path], out: Path, columns: Columns, options: IngestOptions, seen: _Seen, report: IngestReport
) -> Iterator[Document]:
    for found in _found(sources, out):
        report.files += 1
        for entry in (found,) if isinstance(found, LeftOut) else _entries(found, columns, options.limits()):
            if isinstance(entry, LeftOut):
                report.leave_out(entry)
                if options.strict and report.problems:
                    raise DataError(f"{printable(entry.where)}: {entry.reason}: {printable(entry.detail)}")
                continue
            document = entry.document
            if not document.text.strip():
                report.leave_out(LeftOut(entry.where, "empty"))
                continue
            duplicate = seen.duplicate(document, entry.where)
            if duplicate:
                report.leave_out(duplicate)
                continue
            if document.id in seen.ids:
                if entry.named and options.same_ids == "error":
                    raise DataError(
                        f"{entry.where}: the id {document.id!r} stands at {seen.ids[document.id]} already, with "
                        "another text; give each document an id of its own, name another --id-column, or pass "
                        "--same-ids suffix"
                    )
                document = replace(document, id=seen.free_id(document.id))
            seen.ids[document.id] = entry.where
            report.documents += 1
            yield document
    if not report.documents:
        raise DataError("\n".join([f"{', '.join(map(str, sources))}: holds no document", *report.lines()]))


def ingest(
    sources: Sequence[Path],
    out: Path,
    columns: Columns | None = None,
    options: IngestOptions | None = None,
) -> IngestReport:
    """Read documents and write them as records. The first of documents with the same or nearly the same text stays.

    A file or row that cannot be read is counted, and the others are read. Nothing is fetched from the network.

    Args:
        sources: files, or directories that are walked.
        out: where the documents are written; whole or not at all.
        columns: of tables, where their names are not the usual ones.
        options: see there.

    Raises:
        DataError: a source is not there, an id occurs twice, or there is no document; with ``strict``, anything that
            cannot be read.
        InputError: a table that was named lacks a column, or an argument is out of range.
        MissingExtraError: a format needs a package that is not installed.
    """
    options = options or IngestOptions()
    if not sources:
        raise InputError("SOURCE", "is missing", "give a file or a directory")
    report = IngestReport()
    seen = _Seen(NearDuplicates(options.near_duplicates) if options.near_duplicates else None)
    write_json_lines(out, _documents(sources, out, columns or Columns(), options, seen, report))
    return report
