"""Results on disk, one JSON line per query, so that a killed run resumes where it stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Row = dict[str, Any]


def _finished(path: Path, header: Row) -> list[Row]:
    """Return the rows of an earlier run without a half-written last one; none if they are broken or of another run."""
    if not path.is_file():
        return []
    first, *lines = path.read_text(encoding="utf-8").split("\n")
    try:
        if json.loads(first) == header:
            return [json.loads(line) for line in lines[:-1]]
        log.warning("%s holds results of another model or other data; starting again", path)
    except ValueError:
        log.warning("%s is broken; starting again", path)
    return []


def resume(path: Path, header: Row, compute: Callable[[int], Iterable[Row]]) -> list[Row]:
    """Return all rows of a run, computed from a given number on, and write each to a file as soon as it is there.

    The first line of the file is the header of the run that wrote it: everything that the rows depend on.
    """
    rows = _finished(path, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(row) for row in [header, *rows]) + "\n")
        for row in compute(len(rows)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows.append(row)
    return rows
