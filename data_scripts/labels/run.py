"""The label step: pairs in, silver labels out, with a report of each pair's outcome."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from secateur.data_scripts.answer_spans import find_spans
from secateur.data_scripts.labels.labelling import (
    Labeller,
    LabelOptions,
    NotLabelled,
    Outcome,
    labelled,
    pair_units,
)
from secateur.data_scripts.llm_run import LlmReport, listed, reply_cache
from secateur.data_scripts.records import Labelled, Pair, read_records
from secateur.data_scripts.validation import unique_ids
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import most_tokens
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import InputError

log = logging.getLogger(__name__)

_PROGRESS_EVERY = 100  # pairs
_BYTES_PER_TOKEN = 4.0  # of English text, about
_TENTHS = 10
_BLOCK = 256  # pairs that a worker labels at a time
_MOST_COUNTED = 5  # kept units; passages with more are counted together


@dataclass(slots=True)
class LabelReport(LlmReport):
    """Outcome of labelling; ``dropped`` and ``missing`` count pairs.

    Attributes:
        labelled: Pairs written.
        unanswered: Pairs written of which no unit is kept.
        kept_units: Passages by their number of kept units; 5 stands for 5 and more.
        positions: Kept units by the tenth of the passage in which they are.
        prompt_tokens: Tokens of all requests behind the labels, of this and earlier runs.
        completion_tokens: Tokens of their replies.
    """

    labelled: int = 0
    unanswered: int = 0
    kept_units: Counter[int] = field(default_factory=Counter)
    positions: list[int] = field(default_factory=lambda: [0] * _TENTHS)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a pair."""
        if isinstance(outcome, NotLabelled):
            (self.missing if outcome.again else self.dropped)[outcome.reason] += 1
            return
        kept = [number for number, label in enumerate(outcome.labels) if label >= 0.5]
        self.labelled += 1
        self.unanswered += not kept
        self.kept_units[min(len(kept), _MOST_COUNTED)] += 1
        for number in kept:
            self.positions[number * _TENTHS // len(outcome.labels)] += 1
        self.prompt_tokens += int(outcome.usage.get("prompt_tokens", 0))
        self.completion_tokens += int(outcome.usage.get("completion_tokens", 0))
        self.cost += outcome.usage.get("cost", 0.0)

    def lines(self) -> list[str]:
        """Return the report for people."""
        lines = [f"{self.labelled} pairs labelled, {self.unanswered} of them without an answer"]
        if self.dropped:
            lines.append(f"{self.dropped.total()} pairs dropped, their replies are unusable: {listed(self.dropped)}")
        if self.kept_units:
            most = {units: f"{units}{'+' * (units == _MOST_COUNTED)}" for units in self.kept_units}
            counts = ", ".join(f"{count} of {most[units]}" for units, count in sorted(self.kept_units.items()))
            lines.append(f"passages by kept units: {counts}")
        if any(self.positions):
            lines.append("kept units by tenth of the passage: " + " ".join(map(str, self.positions)))
        if self.prompt_tokens:
            lines.append(f"{self.prompt_tokens} prompt tokens, {self.completion_tokens} completion tokens")
        return lines + self.request_lines()


def read_pairs(path: Path) -> Iterator[Pair]:
    """Read pairs.

    Raises:
        DataError: a line is wrong, or two pairs have one id.
    """
    return unique_ids(read_records(path, Pair), path)


def _write(out: Path, outcomes: Iterable[Outcome], report: LabelReport) -> LabelReport:
    """Write what was labelled, and count everything."""

    def rows() -> Iterator[Labelled]:
        for number, outcome in enumerate(outcomes, 1):
            report.add(outcome)
            if number % _PROGRESS_EVERY == 0:
                log.info("%d pairs, %d labelled", number, report.labelled)
            if isinstance(outcome, Labelled):
                yield outcome

    write_json_lines(out, rows())
    return report


@dataclass(slots=True)
class _Block:
    """Pairs that are labelled together, with their share of the budget, and what the requests came to."""

    pairs: list[Pair]
    max_cost: float | None
    outcomes: list[Outcome] = field(default_factory=list)
    requests: LlmReport = field(default_factory=LlmReport)


def _label_block(block: _Block, endpoint: Endpoint, options: LabelOptions, cache: Path) -> _Block:
    own = replace(options, max_cost=block.max_cost)
    block.outcomes = list(_stream(block.pairs, block.pairs, Labeller(endpoint, cache, own, block.requests), own))
    return block


def _stream(
    pairs: Iterable[Pair], again: Iterable[Pair], labeller: Labeller, options: LabelOptions
) -> Iterator[Outcome]:
    """Yield the outcomes of pairs in their order; under a cost limit, cached replies to all of them count first."""
    for pair in again if options.max_cost is not None else ():
        labeller.uncached(labeller.messages(pair))
    yield from labeller.run.map(labeller.label, pairs)


def label(
    pairs: Path, out: Path, endpoint: Endpoint, options: LabelOptions, cache: Path | None = None, *, ray: bool = False
) -> LabelReport:
    """Label pairs by a language model.

    A run that was killed resumes where it stopped, asks nothing twice that was answered, and writes the same file.

    Args:
        pairs: JSON lines of `Pair`.
        out: JSON lines of `Labelled` in the pairs' order, without the pairs in the report's ``missing``.
        endpoint: Endpoint of the language model.
        options: Options of labelling.
        cache: Directory of replies, which Ray's workers must see; None for one beside ``out``.
        ray: Whether to label blocks of pairs on a Ray cluster, each with its share of the budget.

    Raises:
        DataError: a file cannot be read or written.
        EndpointError: the endpoint cannot be used at all; only the cache is written.
        InputError: Ray and a rate limit are both asked for, or samples and temperature do not go together.
    """
    if ray and options.requests_per_minute is not None:
        problem = "cannot be kept by workers that do not know of each other"
        raise InputError("requests_per_minute", problem, "leave it out")
    report = LabelReport()
    replies = (cache or reply_cache(out)).absolute()

    def outcomes() -> Iterator[Outcome]:
        if not ray:
            requests = LlmReport()
            labeller = Labeller(endpoint, replies, options, requests)
            yield from _stream(read_pairs(pairs), read_pairs(pairs), labeller, options)
            add(requests)
            return
        parts = list(blocks(read_pairs(pairs), _BLOCK))
        share = None if options.max_cost is None else options.max_cost / sum(map(len, parts))
        items = [_Block(part, None if share is None else share * len(part)) for part in parts]
        work = partial(_label_block, endpoint=endpoint, options=options, cache=replies)
        for block in map_blocks(work, items, ray=True):
            yield from block.outcomes
            add(block.requests)

    def add(requests: LlmReport) -> None:
        report.sent += requests.sent
        report.cached += requests.cached
        report.stopped = report.stopped or requests.stopped

    return _write(out, outcomes(), report)


def label_by_answers(pairs: Path, out: Path, segmenter: str = "nupunkt") -> LabelReport:
    """Label pairs without a model: units that contain one of the pair's known answers are kept.

    Args:
        pairs: JSON lines of `Pair`; those without answers are dropped.
        out: JSON lines of `Labelled`.
        segmenter: Sentence segmenter; that of the model that will be trained.

    Raises:
        DataError: a file cannot be read or written.
    """

    def outcome(pair: Pair) -> Outcome:
        units = pair_units(pair, segmenter)
        if not pair.answers or not units:
            return NotLabelled("no_answers_known" if units else "no_units")
        spans = find_spans(pair.passage, pair.answers)
        labels = (float(any(unit.start < end and unit.end > start for start, end in spans)) for unit in units)
        return labelled(pair, units, labels, next((pair.passage[start:end] for start, end in spans), ""))

    return _write(out, map(outcome, read_pairs(pairs)), LabelReport())


@dataclass(frozen=True, slots=True)
class Projection:
    """What labelling would ask and cost.

    Attributes:
        pairs: Pairs to label.
        requests: Requests without a cached reply.
        prompt_tokens: Their tokens, about.
        completion_tokens: Most tokens of their replies; None if these have no limit.
        cost: Most that they cost, about; None without prices.
        prompts: The first conversations, as text.
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
    """Return what `label` would ask and cost with the same arguments; no request is sent.

    Raises:
        DataError: the pairs cannot be read.
    """
    labeller = Labeller(endpoint, cache or reply_cache(out), options, LlmReport())
    total = requests = tokens = 0
    prompts: list[str] = []
    for pair in read_pairs(pairs):
        total += 1
        messages = labeller.messages(pair)
        if len(prompts) < shown:
            prompts.append("\n\n".join(f"{message['role']}:\n{message['content']}" for message in messages))
        due = labeller.uncached(messages)
        requests += due
        tokens += due * round(most_tokens(messages) / _BYTES_PER_TOKEN)
    completion = None if endpoint.max_tokens is None else requests * endpoint.max_tokens
    cost = None if options.prices is None or completion is None else options.prices.cost(tokens, completion)
    return Projection(total, requests, tokens, completion, cost, tuple(prompts))
