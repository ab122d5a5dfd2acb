"""The labelling step: pairs in, silver labels out, with a report of what became of each."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from secateur.data_scripts.answer_spans import find_spans
from secateur.data_scripts.labels.labelling import (
    Calls,
    Labeller,
    LabelOptions,
    NotLabelled,
    Outcome,
    label_stream,
    sample_endpoints,
)
from secateur.data_scripts.records import Labelled, Pair, read_records
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import BudgetError, most_tokens
from secateur.llm.cache import ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, EndpointError
from secateur.models.errors import DataError, InputError
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage

log = logging.getLogger(__name__)

_PROGRESS_EVERY = 100  # pairs
_BYTES_A_TOKEN = 4.0  # of English text, about
_DECILES = 10
_BLOCK = 256  # pairs that a worker labels at a time
_MOST_COUNTED = 5  # kept units; passages with more are counted together


@dataclass(slots=True)
class LabelReport:
    """What labelling did.

    Attributes:
        labelled: pairs written.
        unanswered: of them, those of which no unit is kept.
        dropped: replies that cannot be used, by reason; they are not asked for again.
        missing: pairs without a reply, by reason; the next run asks for them.
        kept_units: passages by how many units are kept of them, 5 standing for 5 and more.
        positions: kept units by the tenth of their passage in which they stand.
        prompt_tokens: of all requests behind the labels, this run's and earlier ones'.
        completion_tokens: likewise.
        cost: likewise; 0 without prices.
        calls: what this run asked.
    """

    labelled: int = 0
    unanswered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    kept_units: Counter[int] = field(default_factory=Counter)
    positions: list[int] = field(default_factory=lambda: [0] * _DECILES)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    calls: Calls = field(default_factory=Calls)

    def count(self, outcome: Outcome) -> None:
        """Count one pair."""
        if isinstance(outcome, NotLabelled):
            (self.missing if outcome.again else self.dropped)[outcome.reason] += 1
            return
        kept = [number for number, label in enumerate(outcome.labels) if label >= 0.5]
        self.labelled += 1
        self.unanswered += not kept
        self.kept_units[min(len(kept), _MOST_COUNTED)] += 1
        for number in kept:
            self.positions[number * _DECILES // len(outcome.labels)] += 1
        self.prompt_tokens += int(outcome.usage.get("prompt_tokens", 0))
        self.completion_tokens += int(outcome.usage.get("completion_tokens", 0))
        self.cost += outcome.usage.get("cost", 0.0)

    def lines(self) -> list[str]:
        """Return the report for people."""

        def listed(counts: Counter[str]) -> str:
            return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))

        lines = [f"{self.labelled} pairs labelled, {self.unanswered} of them without an answer"]
        if self.dropped:
            lines.append(f"{self.dropped.total()} dropped, since their replies cannot be used: {listed(self.dropped)}")
        if self.missing:
            lines.append(f"{self.missing.total()} without a reply: {listed(self.missing)}")
        kept = ", ".join(
            f"{count} of {units}{'+' * (units == _MOST_COUNTED)}" for units, count in sorted(self.kept_units.items())
        )
        if kept:
            lines.append(f"passages by kept units: {kept}")
        if any(self.positions):
            lines.append("kept units by tenth of the passage: " + " ".join(map(str, self.positions)))
        if self.prompt_tokens:
            cost = f", cost {self.cost:.4f}" if self.cost else ""
            lines.append(f"{self.prompt_tokens} tokens in, {self.completion_tokens} out{cost}")
        if self.calls.made or self.calls.cached:
            lines.append(f"{self.calls.made} requests, {self.calls.cached} replies from earlier ones")
        return lines


def read_pairs(path: Path) -> Iterator[Pair]:
    """Read pairs whose ids are all different.

    Raises:
        DataError: a line is wrong, or an id stands twice.
    """
    seen: set[str] = set()
    for pair in read_records(path, Pair):
        if pair.id in seen:
            raise DataError(f"{path}: the id {pair.id!r} stands twice; give each pair its own")
        seen.add(pair.id)
        yield pair


def keep_labelled(outcomes: Iterable[Outcome], report: LabelReport) -> Iterator[Labelled]:
    """Yield what was labelled, and count everything."""
    for number, outcome in enumerate(outcomes, 1):
        report.count(outcome)
        if number % _PROGRESS_EVERY == 0:
            log.info("%d pairs, %d labelled", number, report.labelled)
        if isinstance(outcome, Labelled):
            yield outcome


@dataclass(frozen=True, slots=True)
class _Block:
    pairs: list[Pair]
    max_cost: float | None


def _label_block(
    block: _Block, endpoint: Endpoint, options: LabelOptions, cache: Path
) -> tuple[list[Outcome], int, int, str]:
    calls = Calls()
    own = replace(options, max_cost=block.max_cost)
    outcomes = list(label_stream(block.pairs, endpoint, own, ReplyCache(cache), calls, earlier=block.pairs))
    if isinstance(calls.stopped, EndpointError):
        raise calls.stopped
    return outcomes, calls.made, calls.cached, str(calls.stopped or "")


def _label_on_ray(
    pairs: Path, endpoint: Endpoint, options: LabelOptions, cache: Path, calls: Calls
) -> Iterator[Outcome]:
    """Label blocks of pairs on a cluster; each block gets its share of the budget, so that all keep to the whole."""
    if options.requests_per_minute is not None:
        raise InputError(
            "requests_per_minute", "cannot be kept by workers that do not know of each other", "leave it out"
        )
    parts = list(blocks(read_pairs(pairs), _BLOCK))
    total = sum(map(len, parts))
    shares = [None if options.max_cost is None else options.max_cost * len(part) / total for part in parts]
    work = partial(_label_block, endpoint=endpoint, options=options, cache=cache.absolute())
    items = [_Block(part, share) for part, share in zip(parts, shares, strict=True)]
    for outcomes, made, cached, stopped in map_blocks(work, items, ray=True):
        calls.made += made
        calls.cached += cached
        if stopped and calls.stopped is None:
            calls.stopped = BudgetError(stopped)
        yield from outcomes


def label(
    pairs: Path,
    out: Path,
    endpoint: Endpoint,
    options: LabelOptions,
    cache: Path | None = None,
    *,
    ray: bool = False,
) -> LabelReport:
    """Label pairs by a language model.

    Every reply is in the cache as soon as it is there: a run that was killed goes on where it stopped, asks nothing
    twice that was answered, and ends with the same file.

    Args:
        pairs: JSON lines of `Pair`.
        out: JSON lines of `Labelled`, in the pairs' order, written when all is done.
        endpoint: whom to ask.
        options: how.
        cache: directory of replies; None for one beside ``out``. With Ray all workers must see it.
        ray: label blocks of pairs on a Ray cluster; the result is the same.

    Returns:
        The report; pairs in ``missing`` lack in ``out``, and another run adds them.

    Raises:
        DataError: a file cannot be read or written.
        EndpointError: the endpoint is of no use; nothing is written but the cache.
        InputError: Ray and a rate limit are asked for.
    """
    report = LabelReport()
    replies = cache or default_cache(out)

    def labelled() -> Iterator[Labelled]:
        if ray:
            outcomes = _label_on_ray(pairs, endpoint, options, replies, report.calls)
        else:
            earlier = read_pairs(pairs)
            outcomes = label_stream(read_pairs(pairs), endpoint, options, ReplyCache(replies), report.calls, earlier)
        yield from keep_labelled(outcomes, report)
        if isinstance(report.calls.stopped, EndpointError):
            raise report.calls.stopped

    write_json_lines(out, labelled())
    return report


def label_by_answers(pairs: Path, out: Path, segmenter: str = "nupunkt") -> LabelReport:
    """Label pairs without a model: a unit is kept where one of the pair's answers stands in it.

    Args:
        pairs: JSON lines of `Pair`; those without answers are dropped, since nothing is known of them.
        out: JSON lines of `Labelled`.
        segmenter: sentence segmenter; the one of the model that will be trained.

    Raises:
        DataError: a file cannot be read or written.
    """
    cut = get_segmenter(segmenter)
    report = LabelReport()

    def outcome(pair: Pair) -> Outcome:
        units = segment(Passage(pair.passage), cut)
        if not pair.answers or not units:
            return NotLabelled(pair, "no_units" if not units else "no_answers_known", again=False)
        spans = find_spans(pair.passage, pair.answers)
        return Labelled(
            **{item.name: getattr(pair, item.name) for item in fields(Pair)},
            units=tuple((unit.start, unit.end) for unit in units),
            labels=tuple(float(any(unit.start < end and unit.end > start for start, end in spans)) for unit in units),
            answer=next((pair.passage[start:end] for start, end in spans), ""),
        )

    write_json_lines(out, keep_labelled(map(outcome, read_pairs(pairs)), report))
    return report


def default_cache(out: Path) -> Path:
    """Return where replies are kept for a file of labels."""
    return out.with_name(f"{out.name}.replies")


@dataclass(frozen=True, slots=True)
class Projection:
    """What labelling would do.

    Attributes:
        pairs: to label.
        requests: still to send.
        prompt_tokens: of them, about.
        completion_tokens: of them at most; None where replies have no bound.
        cost: about, at most; None without prices.
        prompts: the first conversations, as text.
    """

    pairs: int
    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    cost: float | None
    prompts: tuple[str, ...]


def project(
    pairs: Path, out: Path, endpoint: Endpoint, options: LabelOptions, cache: Path | None = None, shown: int = 2
) -> Projection:
    """Say what `label` would ask and cost; nothing is sent.

    Args:
        pairs: as for `label`.
        out: likewise.
        endpoint: likewise.
        options: likewise.
        cache: likewise.
        shown: prompts to return.

    Raises:
        DataError: the pairs cannot be read.
    """
    replies = ReplyCache(cache or default_cache(out))
    clients = [ChatClient(one, replies, asyncio.Semaphore(1)) for one in sample_endpoints(endpoint, options.samples)]
    labeller = Labeller(clients, options)
    total = requests = tokens = 0
    prompts: list[str] = []
    for pair in read_pairs(pairs):
        total += 1
        _, messages = labeller.messages(pair)
        if len(prompts) < shown:
            prompts.append("\n\n".join(f"{message['role']}:\n{message['content']}" for message in messages))
        due = sum(client.cached(messages) is None for client in clients)
        requests += due
        tokens += due * round(most_tokens(messages) / _BYTES_A_TOKEN)
    completion = None if endpoint.max_tokens is None else requests * endpoint.max_tokens
    cost = None if options.prices is None or completion is None else options.prices.cost(tokens, completion)
    return Projection(total, requests, tokens, completion, cost, tuple(prompts))
