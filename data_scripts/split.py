"""Splitting labelled examples into parts none of which has seen a passage of another."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.data_scripts.dividing import divide, passage_key, query_key
from secateur.labelled.examples import data_files
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_FILE = "\0file"  # key under which a row remembers its file; no column is called so


def _read(data: Path) -> list[dict[str, Any]]:
    rows = []
    for file in data_files(data):
        for number, text in filled_lines(file):
            try:
                row = parse_json(text)
                query_key(row)
                for passage in row["passages"]:
                    passage_key(passage)
                    passage.get("document_id")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{file}, line {number}: {type(error).__name__}: {error}") from error
            rows.append(row | {_FILE: file.name.removesuffix(".gz")})
    return rows


def _write(rows: Sequence[dict[str, Any]], directory: Path) -> None:
    texts: dict[str, list[str]] = {}
    for row in rows:
        text = json.dumps({key: value for key, value in row.items() if key != _FILE}, ensure_ascii=False)
        texts.setdefault(row[_FILE], []).append(text)
    for name, lines in texts.items():
        write_atomically(directory / name, "\n".join(lines) + "\n")


def split(data: Path, out: Path, shares: Mapping[str, float], seed: int = 13) -> dict[str, int]:
    """Split labelled examples, a file a source in each part.

    Queries that share a passage or its document stay together; see `secateur.data_scripts.dividing` for what happens
    where that ties too many.

    Args:
        data: labelled examples.
        out: directory for the parts.
        shares: of the queries, by the name of the part; they add up to 1.
        seed: the same seed gives the same split.

    Returns:
        The number of queries of each part.

    Raises:
        DataError: a line cannot be read, or the queries hang together so much that a part would stay empty.
    """
    rows = _read(data)
    divided = divide(rows, shares, seed, repeat_questions=True)
    parts = divided.parts
    if divided.questions_shared:
        log.warning("questions asked in several parts, each time of other passages: %d", divided.questions_shared)
    empty = [part for part, found in parts.items() if not found]
    if empty:
        raise DataError(
            f"{data}: its {len(rows)} queries share passages so much, or are so few, that nothing is left for the "
            f"part {empty[0]!r}"
        )
    for part, found in parts.items():
        _write(found, out / part)
    return {part: len(found) for part, found in parts.items()}
