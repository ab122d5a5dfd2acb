"""Reading JSON files, and reading and writing JSON lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import filled_lines, parse_json, read_text
from secateur.models.errors import DataError
from secateur.models.files import atomic_path


def read_json(path: Path) -> Any:
    """Return the value in a JSON file, or raise a DataError."""
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error})") from error


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line that is not blank; a DataError names file and line."""
    for number, line in filled_lines(path):
        try:
            value = parse_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: is not JSON ({error})") from error
        yield number, value


def write_json_lines(path: Path, rows: Iterable[object]) -> int:
    """Write rows by `atomic_path`, gzipped if the name ends in ``.gz``, and return their number.

    The same rows, dataclasses or JSON objects, make the same bytes. Lone surrogates become question marks.
    """
    count = 0
    with atomic_path(path) as partial, partial.open("wb") as raw:
        out = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        for row in rows:
            content = row if isinstance(row, dict) else asdict(row)  # type: ignore[call-overload]
            out.write(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            count += 1
        if out is not raw:
            out.close()
    return count
