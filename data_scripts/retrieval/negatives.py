"""The pairs step: the passages of each query that are worth a label, hard negatives among them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from secateur.data_scripts.records import Candidate, Candidates, Pair, read_records
from secateur.data_scripts.validation import not_empty
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError

_BAND = re.compile(r"(\d+)-(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Band:
    """Ranks, from 1, of which a number of passages is drawn."""

    first: int
    last: int
    count: int


def parse_bands(text: str) -> tuple[Band, ...]:
    """Read bands of ranks such as ``1-5:2,6-20:2``; `InputError` for a text that is not a list of bands."""
    bands = []
    for part in filter(None, text.split(",")):
        match = _BAND.fullmatch(part.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError("bands", f"{part!r} is not a band", "give FIRST-LAST:COUNT, such as 1-5:2,6-20:2")
        bands.append(Band(int(match[1]), int(match[2]), int(match[3])))
    return tuple(bands)


_FROM_TEXT = BeforeValidator(lambda value: parse_bands(value) if isinstance(value, str) else value)


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Which passages of a query are labelled.

    Attributes:
        top: Number of first ranks that are taken, besides the query's own chunk.
        bands: Ranks from which further passages, hard negatives, are drawn at random, such as ``3-10:2,11-20:1``.
        margin: Teacher logits by which a drawn passage must be below the best taken one, since it may answer too
            (NV-Retriever: Moreira et al. 2024, arXiv 2407.15831, "TopK-MarginPos"): 2 removes most of the drawn
            passages that do answer. Needs teacher scores; None for no such filter.
        seed: Seed of the draws, together with the query's id.
    """

    top: int = 2
    bands: Annotated[tuple[Band, ...], _FROM_TEXT] = (Band(3, 10, 2), Band(11, 20, 1))
    margin: float | None = None
    seed: int = 13


def chosen(candidates: Candidates, options: PairOptions) -> list[Candidate]:
    """Return the passages of a query to label, by rank; `DataError` for a margin without any teacher's score."""
    passages = candidates.passages
    if options.margin is not None and passages and all(one.teacher_score is None for one in passages):
        raise DataError(f"query {candidates.id!r}: no passage has a teacher_score; run `secateur data teach` first")
    taken = [one for one in passages if one.rank <= options.top or one.id == candidates.chunk_id]
    scores = [one.teacher_score for one in taken if one.teacher_score is not None]
    bar = max(scores) - options.margin if scores and options.margin is not None else None
    draw = random.Random(f"{options.seed} {candidates.id}")
    for band in options.bands:
        free = [
            one
            for one in passages
            if band.first <= one.rank <= band.last
            and one not in taken
            and (bar is None or one.teacher_score is None or one.teacher_score <= bar)
        ]
        taken += draw.sample(free, min(band.count, len(free)))
    return sorted(taken, key=lambda one: one.rank)


def make_pairs(source: Path, out: Path, options: PairOptions) -> int:
    """Write the pairs to label, from JSON lines of `Candidates` to JSON lines of `Pair`; return their number."""
    pairs = (
        Pair(
            id=f"{found.id}/{one.id}",
            query=found.query,
            passage=one.text,
            title=one.title,
            query_id=found.id,
            passage_id=one.id,
            document_id=one.document_id,
            teacher_score=one.teacher_score,
            answers=found.answers,
            format=one.format,
        )
        for found in read_records(source, Candidates)
        for one in chosen(found, options)
    )
    return write_json_lines(out, not_empty(pairs, f"{source}: no query has a passage; retrieve again"))
