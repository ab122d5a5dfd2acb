"""The user's own queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from secateur.data_scripts.records import Query, parse_record
from secateur.models.errors import DataError
from secateur.models.examples import open_lines


def own_queries(path: Path) -> Iterator[Query]:
    """Read the user's queries: a text file with one a line, or JSON lines of strings or of `Query` (``id`` may lack).

    Raises:
        DataError: the file cannot be read, or a line is wrong; the message names it.
    """
    as_json = path.name.removesuffix(".gz").endswith((".jsonl", ".json"))
    try:
        with open_lines(path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    value = json.loads(line) if as_json else line.strip()
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{where}: is not JSON ({error})") from error
                row = {"query": value} if isinstance(value, str) else value
                query = parse_record({"id": f"own-{number}", **row} if isinstance(row, dict) else row, Query, where)
                if not query.query.strip():
                    raise DataError(f"{where}: query: is blank; remove the line or fill it")
                yield replace(query, style=query.style or "own")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
