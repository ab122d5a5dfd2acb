"""The pairs step: which of a query's passages are worth a label, hard negatives among them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.data_scripts.records import Candidate, Candidates, Pair, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError

_BAND = re.compile(r"(\d+)-(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Band:
    """Ranks from which so many passages are drawn.

    Attributes:
        first: rank, from 1.
        last: rank, not before the first.
        count: passages to draw.
    """

    first: int
    last: int
    count: int


def parse_bands(text: str) -> tuple[Band, ...]:
    """Read bands of ranks such as ``1-5:2,6-20:2``.

    Raises:
        InputError: that is no list of bands.
    """
    bands = []
    for part in filter(None, text.split(",")):
        match = _BAND.fullmatch(part.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError("bands", f"{part!r} is no band", "give FIRST-LAST:COUNT, such as 1-5:2,6-20:2")
        bands.append(Band(int(match[1]), int(match[2]), int(match[3])))
    return tuple(bands)


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Which passages of a query are taken.

    Attributes:
        top: of the ranking, beside the query's own chunk.
        bands: further ones, drawn at random: hard negatives.
        margin: a passage of a band whose teacher logit is not this far below the best of the taken ones may well answer
            too: it is passed over (NV-Retriever: Moreira et al. 2024, arXiv 2407.15831, "TopK-MarginPos"); None for no
            such filter. Needs the teacher's scores.
        seed: of the drawing, together with the query's id.
    """

    top: int = 2
    bands: tuple[Band, ...] = (Band(3, 10, 2), Band(11, 20, 1))
    margin: float | None = None
    seed: int = 13


def _pair(candidates: Candidates, passage: Candidate) -> Pair:
    return Pair(
        id=f"{candidates.id}/{passage.id}",
        query=candidates.query,
        passage=passage.text,
        title=passage.title,
        query_id=candidates.id,
        passage_id=passage.id,
        document_id=passage.document_id,
        teacher_score=passage.teacher_score,
        answers=candidates.answers,
    )


def _near(passage: Candidate, taken: Sequence[Candidate], margin: float) -> bool:
    best = max((one.teacher_score for one in taken if one.teacher_score is not None), default=None)
    return best is not None and passage.teacher_score is not None and passage.teacher_score > best - margin


def chosen(candidates: Candidates, options: PairOptions) -> list[Candidate]:
    """Return the passages of a query to label, by rank.

    Raises:
        DataError: a margin is asked for, and no passage has a teacher's score.
    """
    passages = candidates.passages
    if options.margin is not None and passages and all(one.teacher_score is None for one in passages):
        raise DataError(f"query {candidates.id!r}: no passage has a teacher_score; run `secateur data teach` first")
    taken = [one for one in passages if one.rank <= options.top or one.id == candidates.chunk_id]
    ids = {one.id for one in taken}
    positives = tuple(taken)
    draw = random.Random(f"{options.seed} {candidates.id}")
    for band in options.bands:
        free = [
            one
            for one in passages
            if band.first <= one.rank <= band.last
            and one.id not in ids
            and not (options.margin is not None and _near(one, positives, options.margin))
        ]
        drawn = draw.sample(free, min(band.count, len(free)))
        taken += drawn
        ids |= {one.id for one in drawn}
    return sorted(taken, key=lambda one: one.rank)


def make_pairs(source: Path, out: Path, options: PairOptions) -> int:
    """Write the pairs to label.

    Args:
        source: JSON lines of `Candidates`.
        out: JSON lines of `Pair`, query by query.
        options: which passages.

    Returns:
        How many.

    Raises:
        DataError: a file cannot be read or written, a margin lacks scores, or no pair comes out.
    """

    def every() -> Iterator[Pair]:
        count = 0
        for candidates in read_records(source, Candidates):
            for passage in chosen(candidates, options):
                count += 1
                yield _pair(candidates, passage)
        if not count:
            raise DataError(f"{source}: no query has a passage; retrieve again")

    return write_json_lines(out, every())
