"""Reading tables, a document per row: JSON lines (also BEIR's), CSV, Parquet, and Hugging Face datasets on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from secateur.data_scripts.ingest.sources import DOCUMENT_LIMITS, Columns, Found, LeftOut
from secateur.data_scripts.records import Document
from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import refuse_media, saved_splits
from secateur.labelled.text_files import Limits, byte_lines, encoding_error, other_unicode, parse_json, text_lines
from secateur.models.errors import DataError, InputError, shown
from secateur.models.segmentation import FORMATS

# Usual names of the columns in `Columns`.
_USUAL = {
    "id": ("id", "_id", "doc_id", "docid", "document_id"),
    "title": ("title", "headline", "name"),
    "text": ("text", "contents", "content", "body", "page_content", "passage", "document"),
}
_BATCH_ROWS = 256  # rows of Arrow data that are read at once
_MAX_DEPTH = 100  # of nested metadata


@dataclass(frozen=True, slots=True)
class Row:
    """A document that was read from a row or a file, and where; ``named`` if its id comes from the row itself."""

    document: Document
    named: bool
    where: str


def _choose(names: Collection[str], columns: Columns, where: str, *, optional: bool) -> Columns:
    """Return the columns to read; `InputError` for a missing one, unless ``optional`` and of ids or titles."""
    existing = f"use one of its columns: {', '.join(map(str, names)) or 'none'}"
    chosen: dict[str, str | None] = {}
    for kind, usual in _USUAL.items():
        name = getattr(columns, kind)
        if name is not None and name not in names and not (optional and kind != "text"):
            raise InputError(f"--{kind}-column", f"{where} has no column {name!r}", existing)
        chosen[kind] = name if name in names else next((one for one in usual if one in names), None)
    if chosen["text"] is None:
        raise InputError("--text-column", f"{where} has no column {' or '.join(_USUAL['text'])}", existing)
    return Columns(**chosen)


def _plain(value: Any, depth: int = 0) -> Any:
    """Convert a value to JSON types; `LeftOut` for one that is nested too deep for the later steps."""
    if depth > _MAX_DEPTH:
        raise LeftOut("nested too deep", f"its metadata is nested more than {_MAX_DEPTH} deep; flatten it")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return None if isinstance(value, bytes) else str(value)


def _row(row: dict[str, Any], columns: Columns, found: Found, number: int, where: str, limits: Limits) -> Row:
    """Read the document of a row; `LeftOut` for a row without one."""
    text = row.get(columns.text or "")
    if text is None:
        raise LeftOut("empty", f"{columns.text} is null")
    if not isinstance(text, str):
        detail = f"{columns.text} must be a string, not {shown(text)}; choose another --text-column"
        raise LeftOut("text is not a string", detail)
    if len(text) > limits.line:
        raise LeftOut("too large", f"{columns.text} has {len(text)} characters; split it")
    id = row.get(columns.id) if columns.id else None
    title = row.get(columns.title) if columns.title else None
    used = {columns.id, columns.title, columns.text}
    metadata = {str(key): _plain(value) for key, value in row.items() if key not in used}
    if found.beir and isinstance(metadata.get("metadata"), dict):
        metadata |= metadata.pop("metadata")
    # A column of this name may mean something else: only a passage format is one.
    format = metadata.pop("format") if metadata.get("format") in tuple(FORMATS) else "text"
    metadata |= {"source": found.name, "row": number}
    named = id is not None and str(id) != ""
    name = str(id) if named else f"{found.name}#{number}"
    return Row(Document(name, text, "" if title is None else str(title), metadata, format), named, where)


_Rows = Iterator[tuple[dict[str, Any], str] | LeftOut]


def _json_rows(found: Found, limits: Limits) -> _Rows:
    offset = 0
    for number, data in enumerate(byte_lines(found.path, limits, regular=not found.named), 1):
        where = f"{found.path}, line {number}"
        start, offset = offset, offset + len(data)
        try:
            line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            row = parse_json(line) if line.strip() else None
        except UnicodeDecodeError as error:
            broken = encoding_error(where, data, error, start)
            if start == 0 and other_unicode(data):
                raise broken from error  # every line has this problem, so one message is enough
            yield LeftOut("wrong encoding", str(broken).removeprefix(f"{where}: "), where)
        except ValueError as error:
            yield LeftOut("broken line", f"is not JSON ({error}); repair or remove the line", where)
        else:
            if isinstance(row, dict):
                yield row, where
            elif line.strip():
                yield LeftOut("broken line", f"must be a JSON object, not {shown(row)}", where)


def _csv_rows(found: Found, limits: Limits) -> _Rows:
    csv.field_size_limit(min(limits.line, 2**31 - 1))  # a field can be a whole document
    tabs = found.path.name.lower().endswith(".tsv")
    lines = text_lines(found.path, limits, regular=not found.named)
    reader = csv.DictReader(lines, delimiter="\t" if tabs else ",", strict=True)
    try:
        for row in reader:
            where = f"{found.path}, line {reader.line_num}"
            if None in row:
                header = len(reader.fieldnames or ())
                detail = f"has more fields than the header's {header}; quote fields that contain the delimiter"
                yield LeftOut("broken line", detail, where)
            else:
                yield row, where
    except csv.Error as error:
        raise DataError(f"{found.path}, line {reader.line_num}: is not CSV ({error})") from error


def _arrow_rows(tables: Iterable[Any], where: str) -> _Rows:
    """Yield the rows of Arrow tables or batches; a row with a value that Python cannot represent is left out."""
    number = 0
    for table in tables:
        try:
            rows = table.to_pylist()
        except (ValueError, OverflowError):  # e.g. a date after the year 9999
            rows = [table.slice(start, 1) for start in range(table.num_rows)]
        for row in rows:
            number += 1
            place = f"{where}row {number}"
            try:
                yield row if isinstance(row, dict) else row.to_pylist()[0], place
            except (ValueError, OverflowError) as error:
                yield LeftOut("broken row", f"{type(error).__name__}: {error}", place)


def _parquet_rows(found: Found, limits: Limits) -> _Rows:
    with open_parquet(found.path, "data", _BATCH_ROWS, limits, regular=not found.named) as opened:
        yield from _arrow_rows(opened.batches(), f"{found.path}, ")


def _dataset_rows(found: Found, limits: Limits) -> _Rows:
    for name, rows in sorted(saved_splits(found.path, "data").items()):
        refuse_media(found.path, rows)
        # Arrow's rows are not decoded, so no file that a value names is opened.
        plain = rows.with_format("arrow")
        tables = (plain[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))
        yield from _arrow_rows(tables, f"{found.path}, {f'split {name}, ' if name else ''}")


_READERS: dict[str, Callable[[Found, Limits], _Rows]] = {
    "lines": _json_rows,
    "csv": _csv_rows,
    "parquet": _parquet_rows,
    "dataset": _dataset_rows,
}
TABLES = tuple(_READERS)
"""The kinds of files that are tables."""


def read_table(found: Found, columns: Columns, limits: Limits = DOCUMENT_LIMITS) -> Iterator[Row | LeftOut]:
    """Yield a document for each row of a table, with the other columns as metadata, or why there is none.

    Raises:
        DataError: The rest of the file cannot be read; the message names the file, and line or byte if known.
        InputError: A file that the user named lacks a column; the message lists its columns.
    """
    chosen: Columns | None = None
    # Each JSON line has its own keys and may lack an id or a title; the columns of other tables are fixed.
    loose = found.kind == "lines"
    try:
        for number, entry in enumerate(_READERS[found.kind](found, limits), 1):
            if isinstance(entry, LeftOut):
                yield entry
                continue
            row, where = entry
            try:
                if loose or chosen is None:
                    chosen = _choose(row.keys(), columns, where if loose else str(found.path), optional=loose)
                yield _row(row, chosen, found, number, where, limits)
            except LeftOut as left:
                left.where = where
                yield left
            except InputError as error:
                if found.named and number == 1:
                    raise
                yield LeftOut("no such column", f"{error.problem.removeprefix(where).strip()}; {error.hint}", where)
                if not loose:
                    return
    except OSError as error:
        raise DataError(f"{found.path}: cannot be read ({error})") from error
