"""Reading tables, a document a row: JSON lines (BEIR's among them), CSV, Parquet, and Hugging Face datasets on disk."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.ingest.sources import Columns, Found, LeftOut
from secateur.data_scripts.records import Document
from secateur.models.errors import DataError, InputError, MissingExtraError, shown
from secateur.models.sources import saved_splits

_IDS = ("id", "_id", "doc_id", "docid", "document_id")
_TITLES = ("title", "headline", "name")
_TEXTS = ("text", "contents", "content", "body", "page_content", "passage", "document")
_PARQUET_ROWS = 256  # read at a time


@dataclass(frozen=True, slots=True)
class Row:
    """A document read off a row.

    Attributes:
        document: what was read.
        named: whether the row gives the id, or it is made from the row's place.
        where: file and line or row, for messages.
    """

    document: Document
    named: bool
    where: str


def _first(names: Collection[str], usual: tuple[str, ...]) -> str | None:
    return next((name for name in usual if name in names), None)


def _choose(names: Collection[str], columns: Columns, where: str) -> Columns:
    """Return the columns that a table has for what is asked.

    Raises:
        InputError: a named column, or any column of text, is missing.
    """
    there = ", ".join(map(str, names)) or "none"
    for option, name in (("id", columns.id), ("title", columns.title), ("text", columns.text)):
        if name is not None and name not in names:
            raise InputError(f"--{option}-column", f"{where} has no column {name!r}", f"its columns are: {there}")
    text = columns.text or _first(names, _TEXTS)
    if text is None:
        raise InputError(
            "--text-column", f"{where} has no column {' or '.join(_TEXTS)}", f"name one of its columns: {there}"
        )
    return Columns(columns.id or _first(names, _IDS), columns.title or _first(names, _TITLES), text)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, bytes) else str(value)


def _document(row: dict[str, Any], columns: Columns, found: Found, number: int, where: str) -> Row | LeftOut:
    assert columns.text is not None
    text = row.get(columns.text)
    if text is None:
        return LeftOut(where, "empty", f"{columns.text} is null")
    if not isinstance(text, str):
        raise DataError(f"{where}: {columns.text} must be a string, not {shown(text)}; choose another --text-column")
    id = row.get(columns.id) if columns.id else None
    title = row.get(columns.title) if columns.title else None
    used = {columns.id, columns.title, columns.text}
    metadata = {str(key): _plain(value) for key, value in row.items() if key not in used}
    if found.beir and isinstance(metadata.get("metadata"), dict):
        metadata |= metadata.pop("metadata")
    metadata |= {"source": found.name, "row": number}
    named = id is not None and str(id) != ""
    document = Document(
        str(id) if named else f"{found.name}#{number}", text, "" if title is None else str(title), metadata
    )
    return Row(document, named, where)


def _open(path: Path) -> io.BufferedReader | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _decoded_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines as text.

    Raises:
        DataError: it is not UTF-8; the message names line and byte.
    """
    offset = 0
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                at = line.index(error.object[error.start : error.end], error.start)
                raise DataError(
                    f"{path}, line {number}: byte {offset + at} (0x{line[at]:02x}) is not UTF-8; convert the file to "
                    "UTF-8 first"
                ) from error
            offset += len(line)


def _json_rows(found: Found) -> Iterator[tuple[dict[str, Any], str]]:
    for number, line in enumerate(_decoded_lines(found.path), 1):
        if not line.strip():
            continue
        where = f"{found.path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is not JSON ({error}); repair or remove the line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: must be a JSON object, not {shown(row)}")
        yield row, where


def _csv_rows(found: Found) -> Iterator[tuple[dict[str, Any], str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a field is a document, and those are long
    tabs = found.path.name.lower().endswith(".tsv")
    reader = csv.DictReader(_decoded_lines(found.path), delimiter="\t" if tabs else ",", strict=True)
    try:
        for row in reader:
            where = f"{found.path}, line {reader.line_num}"
            if None in row:
                raise DataError(
                    f"{where}: has more fields than the header's {len(reader.fieldnames or ())}; quote fields that "
                    "hold the delimiter"
                )
            yield row, where
    except csv.Error as error:
        raise DataError(f"{found.path}, line {reader.line_num}: is not CSV ({error})") from error


def _parquet_rows(found: Found) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    number = 0
    try:
        for batch in parquet.ParquetFile(found.path).iter_batches(batch_size=_PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield row, f"{found.path}, row {number}"
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{found.path}: cannot be read as Parquet ({error})") from error


def _dataset_rows(found: Found) -> Iterator[tuple[dict[str, Any], str]]:
    for name, rows in sorted(saved_splits(found.path, "data").items()):
        for number, row in enumerate(rows, 1):
            yield row, f"{found.path}, {f'split {name}, ' if name else ''}row {number}"


_READERS: dict[str, Callable[[Found], Iterator[tuple[dict[str, Any], str]]]] = {
    "lines": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "dataset": _dataset_rows,
}
_LOOSE = ("lines",)  # formats whose rows need not have the same keys


def _loose(row: dict[str, Any], columns: Columns, where: str) -> Columns:
    """Choose a row's columns by itself: lines of JSON may leave out an id or a title, but not the text."""
    names = row.keys()
    return _choose(
        names,
        Columns(
            columns.id if columns.id in names else None, columns.title if columns.title in names else None, columns.text
        ),
        where,
    )


def read_table(found: Found, columns: Columns) -> Iterator[Row | LeftOut]:
    """Read a table a row at a time.

    Args:
        found: a file of kind lines, csv, parquet or dataset.
        columns: which columns are meant.

    Yields:
        Documents, whose metadata has the other columns, or why a row becomes none.

    Raises:
        DataError: the file is broken; the message names line and byte.
        InputError: it lacks a column; the message names those that are there.
        MissingExtraError: the format needs a package that is not installed.
    """
    chosen: Columns | None = None
    try:
        for number, (row, where) in enumerate(_READERS[found.kind](found), 1):
            if found.kind in _LOOSE:
                chosen = _loose(row, columns, where)
            elif chosen is None:
                chosen = _choose(row.keys(), columns, str(found.path))
            yield _document(row, chosen, found, number, where)
    except (OSError, EOFError) as error:
        raise DataError(f"{found.path}: cannot be read ({error})") from error
