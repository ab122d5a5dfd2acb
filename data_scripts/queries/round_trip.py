"""The round-trip step: keeps the synthetic queries that find the chunk they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secateur.data_scripts.records import Candidates, read_records
from secateur.data_scripts.validation import Count, check, not_empty
from secateur.labelled.json_files import write_json_lines


def round_trip(source: Path, out: Path, k: int) -> tuple[int, int]:
    """Keep the queries that find their own chunk within rank ``k``: others are vague, or ask what it does not say.

    A filter of synthetic queries by retrieval (Promptagator: Dai et al., ICLR 2023, arXiv 2209.11755, section 3.2).
    Queries that were not made from a chunk are kept.

    Returns:
        How many are kept, and how many are left out.
    """
    check("k", k, Count)
    read = 0

    def found() -> Iterator[Candidates]:
        nonlocal read
        for one in read_records(source, Candidates):
            read += 1
            if one.chunk_id is None or one.chunk_id in {passage.id for passage in one.passages[:k]}:
                yield one

    kept = write_json_lines(out, not_empty(found(), f"{source}: no query finds its own chunk within rank {k}; raise k"))
    return kept, read - kept
