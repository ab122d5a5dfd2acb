"""Reading tables, a document a row: JSON lines (BEIR's among them), CSV, Parquet, and Hugging Face datasets on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from secateur.data_scripts.ingest.sources import DEFAULT_LIMITS, Columns, Found, LeftOut, Unreadable
from secateur.data_scripts.records import Document
from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import refuse_media, saved_splits
from secateur.labelled.text_files import (
    Limits,
    byte_lines,
    encoding_error,
    other_unicode,
    parse_json,
    text_lines,
)
from secateur.models.errors import DataError, InputError, shown

_IDS = ("id", "_id", "doc_id", "docid", "document_id")
_TITLES = ("title", "headline", "name")
_TEXTS = ("text", "contents", "content", "body", "page_content", "passage", "document")
_BATCH_ROWS = 256  # of Arrow data, read at a time
_DEPTH = 100  # lists and objects in one another in metadata


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


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON can hold it.

    Raises:
        Unreadable: it is nested deeper than the steps behind this one can read.
    """
    if depth > _DEPTH:
        raise Unreadable("nested too deep", f"its metadata is nested more than {_DEPTH} deep; flatten it")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return None if isinstance(value, bytes) else str(value)


def _document(
    row: dict[str, Any], columns: Columns, found: Found, number: int, where: str, limits: Limits
) -> Row | LeftOut:
    assert columns.text is not None
    text = row.get(columns.text)
    if text is None:
        return LeftOut(where, "empty", f"{columns.text} is null")
    if not isinstance(text, str):
        detail = f"{columns.text} must be a string, not {shown(text)}; choose another --text-column"
        return LeftOut(where, "text is not a string", detail)
    if len(text) > limits.line:
        return LeftOut(where, "too large", f"{columns.text} has {len(text)} characters; split it")
    id = row.get(columns.id) if columns.id else None
    title = row.get(columns.title) if columns.title else None
    used = {columns.id, columns.title, columns.text}
    try:
        metadata = {str(key): _plain(value) for key, value in row.items() if key not in used}
    except Unreadable as error:
        return LeftOut(where, error.reason, error.detail)
    if found.beir and isinstance(metadata.get("metadata"), dict):
        metadata |= metadata.pop("metadata")
    metadata |= {"source": found.name, "row": number}
    named = id is not None and str(id) != ""
    document = Document(
        str(id) if named else f"{found.name}#{number}", text, "" if title is None else str(title), metadata
    )
    return Row(document, named, where)


_Rows = Iterator[tuple[dict[str, Any], str] | LeftOut]


def _json_rows(found: Found, limits: Limits) -> _Rows:
    offset = 0
    for number, data in enumerate(byte_lines(found.path, limits, regular=not found.named), 1):
        where = f"{found.path}, line {number}"
        start, offset = offset, offset + len(data)
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            if not line.strip():
                continue
            row = parse_json(line)
        except UnicodeDecodeError as error:
            broken = encoding_error(where, data, error, start)
            if start == 0 and other_unicode(data):
                raise broken from error  # all lines are, so one message is enough
            yield LeftOut(where, "wrong encoding", str(broken).removeprefix(f"{where}: "))
            continue
        except ValueError as error:
            yield LeftOut(where, "broken line", f"is not JSON ({error}); repair or remove the line")
            continue
        if isinstance(row, dict):
            yield row, where
        else:
            yield LeftOut(where, "broken line", f"must be a JSON object, not {shown(row)}")


def _csv_rows(found: Found, limits: Limits) -> _Rows:
    csv.field_size_limit(min(limits.line, 2**31 - 1))  # a field is a document, and those are long
    tabs = found.path.name.lower().endswith(".tsv")
    lines = text_lines(found.path, limits, regular=not found.named)
    reader = csv.DictReader(lines, delimiter="\t" if tabs else ",", strict=True)
    try:
        for row in reader:
            where = f"{found.path}, line {reader.line_num}"
            if None in row:
                header = len(reader.fieldnames or ())
                detail = f"has more fields than the header's {header}; quote fields that hold the delimiter"
                yield LeftOut(where, "broken line", detail)
            else:
                yield row, where
    except csv.Error as error:
        raise DataError(f"{found.path}, line {reader.line_num}: is not CSV ({error})") from error


def _arrow_rows(tables: Iterable[Any], where: str) -> _Rows:
    """Yield the rows of Arrow tables or batches; one with a value that Python cannot hold is left out by itself."""
    number = 0
    for table in tables:
        try:
            rows = table.to_pylist()
        except (ValueError, OverflowError):  # e.g. a date behind the year 9999
            rows = [table.slice(start, 1) for start in range(table.num_rows)]
        for row in rows:
            number += 1
            place = f"{where}row {number}"
            if isinstance(row, dict):
                yield row, place
                continue
            try:
                yield row.to_pylist()[0], place
            except (ValueError, OverflowError) as error:
                yield LeftOut(place, "broken row", f"{type(error).__name__}: {error}")


def _parquet_rows(found: Found, limits: Limits) -> _Rows:
    with open_parquet(found.path, "data", _BATCH_ROWS, limits, regular=not found.named) as opened:
        yield from _arrow_rows(opened.batches(), f"{found.path}, ")


def _dataset_rows(found: Found, limits: Limits) -> _Rows:
    for name, rows in sorted(saved_splits(found.path, "data").items()):
        refuse_media(found.path, rows)
        # Arrow's rows are not decoded, so nothing that they name is opened.
        plain = rows.with_format("arrow")
        tables = (plain[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))
        yield from _arrow_rows(tables, f"{found.path}, {f'split {name}, ' if name else ''}")


_READERS: dict[str, Callable[[Found, Limits], _Rows]] = {
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


def read_table(found: Found, columns: Columns, limits: Limits = DEFAULT_LIMITS) -> Iterator[Row | LeftOut]:
    """Read a table a row at a time.

    Args:
        found: a file of kind lines, csv, parquet or dataset.
        columns: which columns are meant.
        limits: what is too much.

    Yields:
        Documents, whose metadata has the other columns, or why a row becomes none.

    Raises:
        DataError: nothing can be read from here on; the message names file, and line or byte where it is known.
        InputError: a file that the user named lacks a column; the message names those that are there.
        MissingExtraError: the format needs a package that is not installed.
    """
    chosen: Columns | None = None
    number = 0
    try:
        for entry in _READERS[found.kind](found, limits):
            number += 1
            if isinstance(entry, LeftOut):
                yield entry
                continue
            row, where = entry
            try:
                if found.kind in _LOOSE:
                    chosen = _loose(row, columns, where)
                elif chosen is None:
                    chosen = _choose(row.keys(), columns, str(found.path))
            except InputError as error:
                if found.named and number == 1:
                    raise
                yield LeftOut(where, "no such column", f"{error.problem.removeprefix(where).strip()}; {error.hint}")
                if found.kind in _LOOSE:
                    continue
                return
            yield _document(row, chosen, found, number, where, limits)
    except OSError as error:
        raise DataError(f"{found.path}: cannot be read ({error})") from error
