"""The teach step: candidates in, the same with a larger model's scores out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

from secateur.data_scripts.records import Candidates, read_records
from secateur.data_scripts.teacher.asking import Asker, TeachOptions
from secateur.data_scripts.teacher.model import Teacher, load_teacher
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.fingerprints import fingerprint
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import BudgetError
from secateur.llm.cache import ReplyCache
from secateur.llm.endpoint import Endpoint
from secateur.models.checkpoint import resolve
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_BLOCK = 32  # queries whose scores are kept together: what a killed run does again at most
_AHEAD = 4  # queries taken up at once, times the requests under way


@dataclass(slots=True)
class TeachReport:
    """What teaching did.

    Attributes:
        queries: read.
        scored: passages with a score.
        unscored: passages without.
        missing: requests without a reply, by reason; another run asks for them again.
        unreadable: replies that say nothing usable.
        calls: requests sent.
        hits: requests answered from the cache.
        cost: of the job, earlier runs included; 0 without prices.
        stopped: the budget's end, if it was reached.
    """

    queries: int = 0
    scored: int = 0
    unscored: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    calls: int = 0
    hits: int = 0
    cost: float = 0.0
    stopped: BudgetError | None = None

    def lines(self) -> list[str]:
        """Return the report for people."""
        lines = [f"{self.queries} queries, {self.scored} passages scored"]
        if self.unscored:
            lines[0] += f", {self.unscored} left without a score"
        if self.missing:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.missing.items()))
            lines.append(
                f"{self.missing.total()} requests without a reply ({counts}); run again to ask for these alone"
            )
        if self.unreadable:
            lines.append(f"{self.unreadable} replies that could not be read")
        if self.calls or self.hits:
            cost = f", cost {self.cost:.4f}" if self.cost else ""
            lines.append(f"{self.calls} requests, {self.hits} replies from earlier ones{cost}")
        return lines


def _taught(candidates: Candidates, scores: Sequence[float | None], report: TeachReport) -> Candidates:
    report.queries += 1
    for score in scores:
        report.scored += score is not None
        report.unscored += score is None
    passages = (
        replace(passage, teacher_score=None if score is None else round(score, 6))
        for passage, score in zip(candidates.passages, scores, strict=True)
    )
    return replace(candidates, passages=tuple(passages))


def _read_scores(path: Path, block: Sequence[Candidates]) -> list[list[float]] | None:
    """Return the scores of a block that an earlier run wrote; None for none, or broken ones."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        scores = [[float(score) for score in row] for row in stored]
    except (OSError, ValueError, TypeError):
        return None
    fits = [len(row) for row in scores] == [len(one.passages) for one in block]
    return scores if fits else None


@lru_cache(maxsize=1)
def _loaded(teacher: str | Path, max_tokens: int, batch: int) -> Teacher:
    """Return a teacher, loaded once a process: blocks of one job share it."""
    return load_teacher(teacher, max_tokens, batch)


def _score_block(
    item: tuple[int, list[Candidates]], teacher: str | Path, max_tokens: int, batch: int, kept: Path
) -> list[list[float]]:
    """Score a block of queries, unless an earlier run has."""
    number, block = item
    path = kept / f"{number:06}.json"
    scores = _read_scores(path, block)
    if scores is None:
        scores = _loaded(teacher, max_tokens, batch)(block)
        write_atomically(path, json.dumps(scores) + "\n")
    return scores


def teach_by_model(
    source: Path, out: Path, teacher: str | Path, *, max_tokens: int = 512, batch: int = 32, ray: bool = False
) -> TeachReport:
    """Score passages by a model from disk; a killed run goes on behind the last block of queries that it scored.

    Scores are the model's raw logits. Blocks are kept beside ``out`` until it is written, under a name that holds what
    they are of: other candidates or another teacher never get them.

    Args:
        source: JSON lines of `Candidates`.
        out: the same with ``teacher_score``.
        teacher: see `load_teacher`.
        max_tokens: likewise.
        batch: likewise.
        ray: score blocks of queries on a Ray cluster, whose workers must see ``out`` and the teacher.

    Raises:
        InputError: max_tokens or batch is less than 1.
        DataError: a file cannot be read or written, or there is no query.
        ModelError: the model cannot be used.
        MissingExtraError: a package is not installed.
    """
    for name, value in (("max_tokens", max_tokens), ("batch", batch)):
        if value < 1:
            raise InputError(name, f"{value!r} is less than 1", "give 1 or more")
    what = f"{fingerprint(source, resolve(teacher))} {max_tokens} {_BLOCK}"
    progress = out.with_name(f"{out.name}.progress")
    kept = progress / hashlib.sha256(what.encode()).hexdigest()[:16]
    report = TeachReport()

    directory = resolve(teacher).absolute()
    work = partial(_score_block, teacher=directory, max_tokens=max_tokens, batch=batch, kept=kept.absolute())

    def every() -> Iterator[Candidates]:
        scored = map_blocks(work, enumerate(blocks(read_records(source, Candidates), _BLOCK)), ray=ray)
        for block, scores in zip(blocks(read_records(source, Candidates), _BLOCK), scored, strict=True):
            for candidates, row in zip(block, scores, strict=True):
                yield _taught(candidates, row, report)
            log.info("%d queries scored", report.queries)
        _check(source, report)

    write_json_lines(out, every())
    shutil.rmtree(progress, ignore_errors=True)
    return report


def teach_by_endpoint(
    source: Path, out: Path, endpoint: Endpoint, options: TeachOptions, cache: Path | None = None
) -> TeachReport:
    """Score passages by a language model; every reply is cached, so that a killed run asks nothing twice.

    Passages that got no reply, or none that can be read, keep no score, with a warning.

    Args:
        source: JSON lines of `Candidates`.
        out: the same with ``teacher_score``, in their order.
        endpoint: whom to ask.
        options: how.
        cache: directory of replies; None for one beside ``out``.

    Raises:
        DataError: a file cannot be read or written, or there is no query.
        EndpointError: the endpoint is of no use; nothing is written but the cache.
        InputError: the cost of a reply has no bound.
    """
    report = TeachReport()
    replies = ReplyCache(cache or out.with_name(f"{out.name}.replies"))
    with asyncio.Runner() as runner:
        asker = runner.run(_open(endpoint, replies, options))

        async def teach(candidates: Candidates) -> Candidates:
            return _taught(candidates, await asker.score(candidates), report)

        async def result(task: asyncio.Task[Candidates]) -> Candidates:
            return await task

        async def close() -> None:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await asker.close()

        under_way: deque[asyncio.Task[Candidates]] = deque()

        def every() -> Iterator[Candidates]:
            for candidates in read_records(source, Candidates):
                under_way.append(runner.get_loop().create_task(teach(candidates)))
                if len(under_way) >= _AHEAD * options.concurrency:
                    yield runner.run(result(under_way.popleft()))
            while under_way:
                yield runner.run(result(under_way.popleft()))
            _check(source, report)

        try:
            write_json_lines(out, every())
        finally:
            runner.run(close())
            report.missing, report.unreadable, report.stopped = asker.missing, asker.unreadable, asker.stopped
            report.calls, report.hits, report.cost = asker.calls, asker.hits, asker.spent
    if report.unscored:
        log.warning("%s: %d passages have no teacher_score", out, report.unscored)
    return report


async def _open(endpoint: Endpoint, cache: ReplyCache, options: TeachOptions) -> Asker:
    return Asker(endpoint, cache, options)


def _check(source: Path, report: TeachReport) -> None:
    if not report.scored and not report.unscored:
        raise DataError(f"{source}: no query has a passage; retrieve again")
