"""The user's own queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from secateur.data_scripts.records import Query, parse_record
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError


def own_queries(path: Path) -> Iterator[Query]:
    """Read queries: a text file with one on each line, or JSON lines of strings or of `Query` (``id`` is optional).

    Raises:
        DataError: the file cannot be read, or a line is wrong; the message names it.
    """
    as_json = path.name.removesuffix(".gz").endswith((".jsonl", ".json"))
    for number, line in filled_lines(path):
        where = f"{path}, line {number}"
        try:
            value = parse_json(line) if as_json else line.strip()
        except ValueError as error:
            raise DataError(f"{where}: is not JSON ({error})") from error
        row = {"query": value} if isinstance(value, str) else value
        query = parse_record({"id": f"own-{number}", **row} if isinstance(row, dict) else row, Query, where)
        if not query.query.strip():
            raise DataError(f"{where}: query: is blank; remove the line or fill it")
        yield replace(query, style=query.style or "own")
