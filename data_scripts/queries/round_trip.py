"""Which synthetic queries are worth keeping: those that find the chunk they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secateur.data_scripts.records import Candidates, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError


def round_trip(source: Path, out: Path, k: int) -> tuple[int, int]:
    """Keep the queries that find the chunk they were made from: others are vague, or ask what it does not say.

    A filter of synthetic queries by retrieval (Promptagator: Dai et al., ICLR 2023, arXiv 2209.11755, section 3.2).
    Queries that were not made from a chunk stay.

    Args:
        source: JSON lines of `Candidates`, retrieved with at least ``k`` passages each.
        out: those that stay.
        k: the rank within which a query's own chunk must stand.

    Returns:
        How many stay, and how many were left out.

    Raises:
        InputError: ``k`` is not positive.
        DataError: a file cannot be read or written, or none stays.
    """
    if k < 1:
        raise InputError("k", f"{k!r} is less than 1", "give the rank within which a query must find its chunk")
    left_out = 0

    def found() -> Iterator[Candidates]:
        nonlocal left_out
        kept = 0
        for candidates in read_records(source, Candidates):
            if candidates.chunk_id is None or candidates.chunk_id in {p.id for p in candidates.passages[:k]}:
                kept += 1
                yield candidates
            else:
                left_out += 1
        if not kept:
            raise DataError(f"{source}: no query finds its own chunk within rank {k}; give a greater k")

    return write_json_lines(out, found()), left_out
