"""A RAG evaluation: each question is answered with full, pruned and no context, and the answers are judged."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
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

_PROGRESS_EVERY = 100  # questions

_Questions = list[tuple[str, Example]]
"""Examples with at least one right answer that is not blank, each with the name of its source."""


def _read_questions(data: Path, limit: int | None) -> tuple[_Questions, int]:
    """Return the questions that have an answer, at most ``limit`` of each source, and the number of those without."""
    questions: _Questions = []
    unanswered = 0
    for source in labelled_sources(data):
        read = [replace(one, answers=tuple(a for a in one.answers if a.strip())) for one in source.read()]
        usable = [(source.name, example) for example in read if example.answers]
        unanswered += len(read) - len(usable)
        if limit is not None:
            random.Random(0).shuffle(usable)
        questions += usable[:limit]
    if not questions:
        raise DataError(f"{data}: no question has `answers`; there is nothing to compare an answer with")
    return questions, unanswered


async def _record(
    answerer: ChatClient, judge: ChatClient | None, source: str, example: Example, context: Context
) -> Record:
    query, gold = example.query, example.answers
    record = Record(source, example.id, query, gold, context.name, context.tokens)
    reply = await answerer.ask(answer_messages(query, context.text))
    if isinstance(reply, Failed):
        return replace(record, failure=reply)
    used = {name: getattr(reply, name) for name in ("prompt_tokens", "completion_tokens", "finish_reason")}
    answer = without_thoughts(reply.text)
    if not answer:
        thought = Failed("empty", "the model thought and did not answer; raise max_tokens")
        return replace(record, **used, failure=thought)
    match, f1 = exact_match(answer, gold), token_f1(answer, gold)
    record = replace(record, **used, answer=answer, exact_match=match, f1=f1)
    if judge is None:
        return record
    reply = await judge.ask(judge_messages(query, gold, answer))
    if isinstance(reply, Failed):
        return replace(record, judge_failure=reply)
    verdict = parse_verdict(reply.text)
    unparsable = Failed("unparsable", "the reply is neither yes nor no") if verdict is None else None
    return replace(record, judge=verdict, judge_reply=reply.text, judge_failure=unparsable)


async def _answer_all(
    pruner: Pruner,
    threshold: float | None,
    questions: _Questions,
    endpoints: dict[str, Endpoint],
    cache: ReplyCache,
    concurrency: int,
) -> tuple[list[Record], dict[str, Any]]:
    """Return the records in the order of the questions, and the counts of calls and refused questions."""
    records: dict[int, list[Record]] = {}
    refused: Counter[str] = Counter()
    slots = asyncio.Semaphore(concurrency)
    # One at a time: the runtime uses all cores for one question, so threads would only wait for each other.
    pruning = asyncio.Lock()
    left = iter(enumerate(questions))
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(ChatClient(endpoint, cache, slots))
            for name, endpoint in endpoints.items()
        }
        answerer, judge = clients["answer"], clients.get("judge")

        async def work() -> None:
            for number, (source, example) in left:
                try:
                    async with pruning:
                        shown = await asyncio.to_thread(contexts, pruner, example, threshold)
                except InputError as error:
                    log.warning("%s %s: left out (%s)", source, example.id, error)
                    refused[error.field.partition("[")[0]] += 1
                else:
                    # One after the other, so that equal requests (nothing kept equals no context) hit the cache.
                    records[number] = [await _record(answerer, judge, source, example, one) for one in shown]
                done = len(records) + refused.total()
                if done % _PROGRESS_EVERY == 0 or done == len(questions):
                    log.info("%d of %d questions", done, len(questions))

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(questions))):
                workers.create_task(work())
    calls = {name: {"made": client.calls, "cached": client.hits} for name, client in clients.items()}
    skipped = {f"refused_{name}": count for name, count in sorted(refused.items())}
    return [record for _, own in sorted(records.items()) for record in own], {"calls": calls, "skipped": skipped}


def run_rag(
    pruner: Pruner,
    data: Path,
    answerer: Endpoint,
    judge: Endpoint | None = None,
    *,
    out: Path,
    limit: int | None = None,
    threshold: float | None = None,
    prices: Prices | None = None,
    concurrency: int = 8,
) -> dict[str, Any]:
    """Evaluate a pruner end to end.

    Writes ``rag.json`` (figures and settings) and ``rag.jsonl`` (one line per question and context) at the end. Every
    reply is cached as it arrives, so a run that was stopped asks only for what is missing. A failed call is counted by
    its reason, left out of the means, and repeated by the next run.

    The data are labelled examples with `answers`; ``limit`` questions are drawn from each source, always the same ones.
    The threshold, in [0, 1], is by default the model's. Without a judge answers are scored by exact match and F1 alone,
    without prices costs are left out. Concurrent calls are counted for both endpoints together.

    Returns:
        The content of ``rag.json``; `rag_table` renders it.

    Raises:
        InputError: An argument is wrong.
        DataError: No question has an answer, or a file cannot be read or written.
        EndpointError: An endpoint cannot be used at all.
        MissingExtraError: The `openai` package is not installed.
    """
    for name, number in (("limit", limit), ("concurrency", concurrency)):
        if number is not None and number < 1:
            raise InputError(name, f"{number!r} is less than 1", "give 1 or more")
    check_options(PruneOptions(threshold=threshold))
    questions, unanswered = _read_questions(data, limit)
    cache = ReplyCache(out / "cache")
    endpoints = {"answer": answerer, **({} if judge is None else {"judge": judge})}
    try:
        records, counts = asyncio.run(_answer_all(pruner, threshold, questions, endpoints, cache, concurrency))
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
        "calls": counts["calls"],
        "skipped": {"no_answers": unanswered, **counts["skipped"]},
        **summarise(records, prices),
    }
    lines = [json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records]
    write_atomically(out / "rag.jsonl", replace_surrogates("".join(lines)))
    write_atomically(out / "rag.json", json.dumps(report, indent=2) + "\n")
    return report
