"""Results on disk, one JSON line per query, so that a killed run resumes where it stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Row = dict[str, Any]


def resumed_rows(path: Path, header: Row) -> list[Row]:
    """Return the finished rows of an earlier run; none where the file is missing, broken or of another run.

    Args:
        path: File whose first line is the header of the run that wrote it. A half-written last line is dropped.
        header: Everything that the rows depend on.
    """
    if not path.is_file():
        return []
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    try:
        if json.loads(first) != header:
            log.warning("%s holds results of another model or other data; starting again", path)
            return []
        return [json.loads(line) for line in lines[:-1]]
    except ValueError:
        log.warning("%s is broken; starting again", path)
        return []


def append_rows(path: Path, header: Row, done: list[Row], more: Iterable[Row]) -> list[Row]:
    """Write the header and the finished rows, then each further row as it is computed; return all rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(done)
    with path.open("w", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in [header, *rows]) + "\n")
        for row in more:
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows.append(row)
    return rows
