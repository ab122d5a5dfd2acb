"""The teach step: candidates in, the same with a larger model's scores out."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from secateur.data_scripts.llm_run import LlmReport, reply_cache
from secateur.data_scripts.records import Candidates, read_records
from secateur.data_scripts.teacher.llm_judge import LlmJudge, TeachOptions
from secateur.data_scripts.teacher.model import load_teacher
from secateur.data_scripts.validation import Count, check
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.fingerprints import fingerprint
from secateur.labelled.json_files import read_json, write_json_lines
from secateur.llm.endpoint import Endpoint
from secateur.models.checkpoint import resolve
from secateur.models.errors import DataError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_BLOCK = 32  # queries whose scores are stored together: at most so many are scored again by the next run


@dataclass(slots=True)
class TeachReport(LlmReport):
    """Outcome of teaching: queries read, and passages with and without a score."""

    queries: int = 0
    scored: int = 0
    unscored: int = 0

    def lines(self) -> list[str]:
        """Return the report for people."""
        unscored = f", {self.unscored} left without a score" if self.unscored else ""
        lines = [f"{self.queries} queries, {self.scored} passages scored{unscored}", *self.request_lines()]
        if self.dropped.total():
            lines.append(f"{self.dropped.total()} replies that could not be read")
        return lines

    def add(self, candidates: Candidates, scores: Sequence[float | None]) -> Candidates:
        """Count a query's scores, and return it with them."""
        self.queries += 1
        self.unscored += sum(score is None for score in scores)
        self.scored += sum(score is not None for score in scores)
        passages = (
            replace(passage, teacher_score=None if score is None else round(score, 6))
            for passage, score in zip(candidates.passages, scores, strict=True)
        )
        return replace(candidates, passages=tuple(passages))

    def write(self, source: Path, out: Path, scored: Iterator[Candidates]) -> None:
        """Write what was scored; raise `DataError` if no query has a passage."""

        def rows() -> Iterator[Candidates]:
            yield from scored
            if not self.scored and not self.unscored:
                raise DataError(f"{source}: no query has a passage; retrieve again")

        write_json_lines(out, rows())


def _score_block(
    item: tuple[int, list[Candidates]], teacher: Path, max_tokens: int, batch: int, stored: Path
) -> list[list[float]]:
    """Score a block, unless an earlier run has stored its scores."""
    number, block = item
    path = stored / f"{number:06}.json"
    if not path.is_file():
        write_atomically(path, json.dumps(load_teacher(teacher, max_tokens, batch)(block)) + "\n")
    scores: list[list[float]] = read_json(path)
    return scores


def teach_by_model(
    source: Path, out: Path, teacher: str | Path, *, max_tokens: int = 512, batch: int = 32, ray: bool = False
) -> TeachReport:
    """Score the passages of `Candidates` records by a model from disk; scores are its raw logits, see `load_teacher`.

    Blocks of scores are stored beside ``out`` until it is written, so that a killed run resumes. Their directory is
    named by the candidates and the teacher: no others get them. With ``ray``, blocks are scored on a Ray cluster, whose
    workers must see ``out`` and the teacher.
    """
    check("max_tokens", max_tokens, Count)
    check("batch", batch, Count)
    directory = resolve(teacher).absolute()
    key = hashlib.sha256(f"{fingerprint(source, directory)} {max_tokens} {_BLOCK}".encode()).hexdigest()[:16]
    progress = out.with_name(f"{out.name}.progress").absolute()
    work = partial(_score_block, teacher=directory, max_tokens=max_tokens, batch=batch, stored=progress / key)
    report = TeachReport()

    def taught() -> Iterator[Candidates]:
        scored = map_blocks(work, enumerate(blocks(read_records(source, Candidates), _BLOCK)), ray=ray)
        for block, scores in zip(blocks(read_records(source, Candidates), _BLOCK), scored, strict=True):
            yield from map(report.add, block, scores)
            log.info("%d queries scored", report.queries)

    report.write(source, out, taught())
    shutil.rmtree(progress, ignore_errors=True)
    return report


def teach_by_endpoint(
    source: Path, out: Path, endpoint: Endpoint, options: TeachOptions, cache: Path | None = None
) -> TeachReport:
    """Score the passages of `Candidates` records by a language model; the cache is beside ``out`` unless given.

    A passage without a readable reply gets no score, and a warning is logged.
    """
    report = TeachReport()
    judge = LlmJudge(endpoint, cache or reply_cache(out), options, report)

    async def teach(candidates: Candidates) -> Candidates:
        return report.add(candidates, await judge.score(candidates))

    report.write(source, out, judge.run.map(teach, read_records(source, Candidates)))
    if report.unscored:
        log.warning("%s: %d passages have no teacher_score", out, report.unscored)
    return report
