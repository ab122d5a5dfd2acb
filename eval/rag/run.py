"""A RAG evaluation: each question is answered with full, pruned and no context, and the answers are judged."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from secateur.eval.bootstrap import RESAMPLES
from secateur.eval.rag.judge import exact_match, judge_messages, parse_verdict, token_f1
from secateur.eval.rag.prompts import Context, answer_messages, contexts
from secateur.eval.rag.report import Record, summarise
from secateur.labelled.examples import Example
from secateur.labelled.sources import labelled_sources
from secateur.llm.budget import Prices
from secateur.llm.cache import ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, Failed, without_thoughts
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_options, replace_surrogates

log = logging.getLogger(__name__)

REPORT = "rag.json"
RECORDS = "rag.jsonl"
CACHE = "cache"
_PROGRESS_EVERY = 100  # questions


@dataclass(frozen=True, slots=True)
class Question:
    """An example with at least one right answer, and the name of its source."""

    source: str
    example: Example

    @property
    def gold(self) -> tuple[str, ...]:
        """The right answers that are not blank."""
        return tuple(answer for answer in self.example.answers if answer.strip())


def read_questions(data: Path, limit: int | None) -> tuple[list[Question], int]:
    """Read the questions that have an answer.

    Args:
        data: See `secateur.labelled.sources.labelled_sources`.
        limit: Number of questions drawn from each source, always the same ones; None for all.

    Returns:
        The questions, and the number of examples that have no right answer.

    Raises:
        DataError: No example has an answer, or a file cannot be read.
    """
    questions: list[Question] = []
    unanswered = 0
    for source in labelled_sources(data):
        read = [Question(source.name, example) for example in source.read()]
        usable = [question for question in read if question.gold]
        unanswered += len(read) - len(usable)
        if limit is not None:
            random.Random(0).shuffle(usable)
            usable = usable[:limit]
        questions += usable
    if not questions:
        raise DataError(f"{data}: no question has `answers`; there is nothing to compare an answer with")
    return questions, unanswered


class _Run:
    """State that the workers share: how to answer and judge, and the records so far."""

    def __init__(
        self, pruner: Pruner, threshold: float | None, answerer: ChatClient, judge: ChatClient | None, total: int
    ) -> None:
        self.records: dict[int, list[Record]] = {}
        self.refused: Counter[str] = Counter()
        self._pruner = pruner
        self._threshold = threshold
        self._answerer = answerer
        self._judge = judge
        self._total = total
        self._done = 0
        # One at a time: the runtime uses all cores for one question, so threads would only wait for each other.
        self._pruning = asyncio.Lock()

    async def work(self, questions: Iterator[tuple[int, Question]]) -> None:
        """Answer questions until there are none left; all workers draw from one iterator."""
        for number, question in questions:
            try:
                async with self._pruning:
                    shown = await asyncio.to_thread(contexts, self._pruner, question.example, self._threshold)
            except InputError as error:
                log.warning("%s %s: left out (%s)", question.source, question.example.id, error)
                self.refused[error.field.partition("[")[0]] += 1
            else:
                # One after the other, so that equal requests (nothing kept equals no context) hit the cache.
                self.records[number] = [await self._record(question, context) for context in shown]
            self._done += 1
            if self._done % _PROGRESS_EVERY == 0 or self._done == self._total:
                log.info("%d of %d questions", self._done, self._total)

    async def _record(self, question: Question, context: Context) -> Record:
        query, gold = question.example.query, question.gold
        record = Record(question.source, question.example.id, query, gold, context.name, context.tokens)
        reply = await self._answerer.ask(answer_messages(query, context.text))
        if isinstance(reply, Failed):
            return replace(record, failure=reply)
        record = replace(
            record,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish_reason=reply.finish_reason,
        )
        answer = without_thoughts(reply.text)
        if not answer:
            return replace(record, failure=Failed("empty", "the model thought and did not answer; raise max_tokens"))
        record = replace(record, answer=answer, exact_match=exact_match(answer, gold), f1=token_f1(answer, gold))
        return await self._judged(record)

    async def _judged(self, record: Record) -> Record:
        if self._judge is None or record.answer is None:
            return record
        reply = await self._judge.ask(judge_messages(record.query, record.gold, record.answer))
        if isinstance(reply, Failed):
            return replace(record, judge_failure=reply)
        verdict = parse_verdict(reply.text)
        unparsable = Failed("unparsable", "the reply is neither yes nor no") if verdict is None else None
        return replace(record, judge=verdict, judge_reply=reply.text, judge_failure=unparsable)


@dataclass(frozen=True, slots=True)
class _Outcome:
    records: list[Record]
    refused: dict[str, int]
    calls: dict[str, dict[str, int]]


async def _answer_all(
    pruner: Pruner,
    questions: list[Question],
    threshold: float | None,
    answerer: Endpoint,
    judge: Endpoint | None,
    cache: ReplyCache,
    concurrency: int,
) -> _Outcome:
    slots = asyncio.Semaphore(concurrency)
    async with AsyncExitStack() as stack:
        clients = {"answer": await stack.enter_async_context(ChatClient(answerer, cache, slots))}
        if judge is not None:
            clients["judge"] = await stack.enter_async_context(ChatClient(judge, cache, slots))
        run = _Run(pruner, threshold, clients["answer"], clients.get("judge"), len(questions))
        numbered = iter(enumerate(questions))
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(questions))):
                workers.create_task(run.work(numbered))
    return _Outcome(
        records=[record for number in sorted(run.records) for record in run.records[number]],
        refused=dict(sorted(run.refused.items())),
        calls={name: {"made": client.calls, "cached": client.hits} for name, client in clients.items()},
    )


def _check(limit: int | None, threshold: float | None, concurrency: int) -> None:
    for name, number in (("limit", limit), ("concurrency", concurrency)):
        if number is not None and number < 1:
            raise InputError(name, f"{number!r} is less than 1", "give 1 or more")
    check_options(PruneOptions(threshold=threshold))


def run_rag(
    pruner: Pruner,
    data: Path,
    answerer: Endpoint,
    judge: Endpoint | None = None,
    *,
    out: Path,
    cache: Path | None = None,
    limit: int | None = None,
    threshold: float | None = None,
    prices: Prices | None = None,
    concurrency: int = 8,
) -> dict[str, Any]:
    """Evaluate a pruner end to end.

    Writes ``rag.json`` (figures and settings) and ``rag.jsonl`` (one line per question and context) at the end. Every
    reply is cached as it arrives, so a run that was stopped asks only for what is missing. A failed call is counted by
    its reason, left out of the means, and repeated by the next run.

    Args:
        pruner: Pruner to evaluate.
        data: Labelled examples with `answers`; see `secateur.labelled.sources.labelled_sources`.
        answerer: Endpoint that answers.
        judge: Endpoint that judges answers; None for exact match and F1 alone.
        out: Directory for the results.
        cache: Directory of cached replies, which runs may share; None for ``cache`` in ``out``.
        limit: Number of questions drawn from each source, always the same ones; None for all.
        threshold: Threshold of the pruner in [0, 1]; None for the model's default.
        prices: Prices of the answering endpoint; None leaves costs out.
        concurrency: Maximum number of concurrent calls to both endpoints together.

    Returns:
        The content of ``rag.json``; `rag_table` renders it.

    Raises:
        InputError: An argument is wrong.
        DataError: No question has an answer, or a file cannot be read or written.
        EndpointError: An endpoint cannot be used at all.
        MissingExtraError: The `openai` package is not installed.
    """
    _check(limit, threshold, concurrency)
    questions, unanswered = read_questions(data, limit)
    replies = ReplyCache(cache if cache is not None else out / CACHE)
    try:
        outcome = asyncio.run(_answer_all(pruner, questions, threshold, answerer, judge, replies, concurrency))
    except ExceptionGroup as group:
        # Workers that fail at the same time fail for the same reason.
        raise group.exceptions[0] from None
    report = {
        "model": pruner.config.name,
        "backend": f"{pruner.backend.name} {pruner.backend.precision}",
        "settings": {
            "data": str(data),
            "limit": limit,
            "threshold": pruner.config.threshold if threshold is None else threshold,
            "answerer": answerer.settings(),
            "judge": judge and judge.settings(),
            "prices": prices and asdict(prices),
            "concurrency": concurrency,
            "resamples": RESAMPLES,
        },
        "calls": outcome.calls,
        "skipped": {"no_answers": unanswered, **{f"refused_{name}": n for name, n in outcome.refused.items()}},
        **summarise(outcome.records, prices),
    }
    lines = [json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in outcome.records]
    write_atomically(out / RECORDS, replace_surrogates("".join(lines)))
    write_atomically(out / REPORT, json.dumps(report, indent=2) + "\n")
    return report
