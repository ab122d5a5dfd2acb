"""The ingesting step: documents of many formats in, one file of records out, nothing in it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from secateur.data_scripts.ingest.sources import Columns, Found, LeftOut, find
from secateur.data_scripts.ingest.tables import Row, read_table
from secateur.data_scripts.ingest.texts import read_file
from secateur.data_scripts.near_duplicates import NearDuplicates, check_threshold, digest, normalised
from secateur.data_scripts.records import Document, write_records
from secateur.models.errors import DataError, InputError

_SHOWN = 5  # places that are named of each reason
_TABLES = ("lines", "csv", "parquet", "dataset")

SameIds = Literal["error", "suffix"]


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
            places.append(f"{left.where}: {left.detail}" if left.detail else left.where)

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


def _entries(found: Found, columns: Columns) -> Iterator[Row | LeftOut]:
    if found.kind in _TABLES:
        yield from read_table(found, columns)
        return
    read = read_file(found)
    yield read if isinstance(read, LeftOut) else Row(read, named=False, where=str(found.path))


def _documents(
    sources: Sequence[Path], columns: Columns, same_ids: SameIds, seen: _Seen, report: IngestReport, out: Path
) -> Iterator[Document]:
    for found in (found for source in sources for found in find(source)):
        if found.path.resolve() == out.resolve():
            continue  # the last run's output in a folder that is read again
        report.files += 1
        for entry in _entries(found, columns):
            if isinstance(entry, LeftOut):
                report.leave_out(entry)
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
                if entry.named and same_ids == "error":
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
    near_duplicates: float = 0.9,
    same_ids: SameIds = "error",
) -> IngestReport:
    """Read documents and write them as records. The first of documents with the same or nearly the same text stays.

    Args:
        sources: files, or directories that are walked.
        out: where the documents are written; whole or not at all.
        columns: of tables, where their names are not the usual ones.
        near_duplicates: similarity of word shingles from which a document is a near-duplicate; 0 keeps them.
        same_ids: what happens where a table's id stands twice with different texts. Files of the same name in
            different sources get a number behind their id in any case.

    Raises:
        DataError: a source is not there, a table is broken, or there is no document.
        InputError: a column is missing, or an argument is out of range.
        MissingExtraError: a format needs a package that is not installed.
    """
    check_threshold(near_duplicates)
    if not sources:
        raise InputError("SOURCE", "is missing", "give a file or a directory")
    report = IngestReport()
    seen = _Seen(NearDuplicates(near_duplicates) if near_duplicates else None)
    write_records(out, _documents(sources, columns or Columns(), same_ids, seen, report, out))
    return report
