"""The label step: pairs in, silver labels out, with a report of each pair's outcome."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from secateur.data_scripts.answer_spans import find_spans
from secateur.data_scripts.labels.labelling import Labeller, LabelOptions, NotLabelled, Outcome, labelled, pair_units
from secateur.data_scripts.llm_run import LlmReport, listed, reply_cache
from secateur.data_scripts.records import Labelled, Pair, read_records
from secateur.data_scripts.reports import MAX_COUNTED, TENTHS, UnitCounts
from secateur.data_scripts.validation import unique_ids
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.readable import overlapping
from secateur.llm.budget import most_tokens
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import InputError

log = logging.getLogger(__name__)

_PROGRESS_EVERY = 100  # pairs
_BYTES_PER_TOKEN = 4.0  # of English text, about
_BLOCK = 256  # pairs that a worker labels at a time


@dataclass(slots=True)
class LabelReport(LlmReport):
    """Outcome of labelling: counts of the written pairs, and tokens of all requests behind their labels.

    ``dropped`` and ``missing`` count pairs.
    """

    counts: UnitCounts = field(default_factory=UnitCounts)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def labelled(self) -> int:
        """Number of pairs written."""
        return self.counts.passages

    def add(self, outcome: Outcome) -> None:
        """Count a pair."""
        if isinstance(outcome, NotLabelled):
            (self.missing if outcome.again else self.dropped)[outcome.reason] += 1
        else:
            self.counts.add(outcome.labels)
            self.prompt_tokens += int(outcome.usage.get("prompt_tokens", 0))
            self.completion_tokens += int(outcome.usage.get("completion_tokens", 0))

    def lines(self) -> list[str]:
        """Return the report for people."""
        kept, positions = self.counts.kept_units, self.counts.positions
        lines = [f"{self.labelled} pairs labelled, {kept[0]} of them without an answer"]
        if self.dropped:
            lines.append(f"{self.dropped.total()} pairs dropped for unusable replies: {listed(self.dropped)}")
        if self.labelled:
            ordered = sorted(kept.items())
            counts = ", ".join(f"{count} of {units}{'+' * (units == MAX_COUNTED)}" for units, count in ordered)
            lines.append(f"passages by kept units: {counts}")
        if positions:
            lines.append("kept units by tenth of the passage: " + " ".join(str(positions[n]) for n in range(TENTHS)))
        if self.prompt_tokens:
            lines.append(f"{self.prompt_tokens} prompt tokens, {self.completion_tokens} completion tokens")
        return lines + self.request_lines()


def read_pairs(path: Path) -> Iterator[Pair]:
    """Read pairs; raise `DataError` if a line is wrong or two pairs have one id."""
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


def _label_block(
    item: tuple[list[Pair], float | None], endpoint: Endpoint, options: LabelOptions, cache: Path
) -> tuple[list[Outcome], LlmReport]:
    """Label pairs with their share of the budget; return the outcomes and what the requests came to."""
    pairs, max_cost = item
    requests = LlmReport()
    labeller = Labeller(endpoint, cache, replace(options, max_cost=max_cost), requests)
    return list(_outcomes(pairs, pairs if max_cost is not None else (), labeller)), requests


def _outcomes(pairs: Iterable[Pair], counted: Iterable[Pair], labeller: Labeller) -> Iterator[Outcome]:
    """Yield the outcomes of pairs in their order; first, the cached replies to some pairs count towards the cost."""
    for pair in counted:
        labeller.uncached(pair)
    yield from labeller.run.map(labeller.label, pairs)


def label(
    pairs: Path, out: Path, endpoint: Endpoint, options: LabelOptions, cache: Path | None = None, *, ray: bool = False
) -> LabelReport:
    """Label a file of `Pair` records by a language model; the `Labelled` records have the same order.

    A run that was killed resumes where it stopped, asks nothing twice that was answered, and writes the same file. The
    cache of replies is beside ``out`` unless given. With ``ray``, blocks of pairs are labelled on a Ray cluster, whose
    workers must see the cache, each with its share of the budget; a rate limit is then an `InputError`.
    """
    report = LabelReport()
    replies = (cache or reply_cache(out)).absolute()
    if not ray:
        labeller = Labeller(endpoint, replies, options, report)
        counted = read_pairs(pairs) if options.max_cost is not None else ()
        return _write(out, _outcomes(read_pairs(pairs), counted, labeller), report)
    if options.requests_per_minute is not None:
        problem = "cannot be kept by workers that do not know of each other"
        raise InputError("requests_per_minute", problem, "leave it out")

    def outcomes() -> Iterator[Outcome]:
        parts = list(blocks(read_pairs(pairs), _BLOCK))
        share = None if options.max_cost is None else options.max_cost / max(1, sum(map(len, parts)))
        items = [(part, None if share is None else share * len(part)) for part in parts]
        work = partial(_label_block, endpoint=endpoint, options=options, cache=replies)
        for block, requests in map_blocks(work, items, ray=True):
            yield from block
            report.sent += requests.sent
            report.cached += requests.cached
            report.cost = round(report.cost + requests.cost, 9)
            report.stopped = report.stopped or requests.stopped

    return _write(out, outcomes(), report)


def label_by_answers(pairs: Path, out: Path, segmenter: str = "nupunkt") -> LabelReport:
    """Label pairs without a model: units that contain a known answer are kept, pairs without answers are dropped."""

    def outcome(pair: Pair) -> Outcome:
        units = pair_units(pair, segmenter)
        if not pair.answers or not units:
            return NotLabelled("no_answers_known" if units else "no_units")
        spans = find_spans(pair.passage, pair.answers)
        labels = map(float, overlapping(pair.passage, units, spans))
        return labelled(pair, units, labels, next((pair.passage[start:end] for start, end in spans), ""))

    return _write(out, map(outcome, read_pairs(pairs)), LabelReport())


@dataclass(frozen=True, slots=True)
class Projection:
    """What labelling would ask and cost.

    The tokens of prompts are an estimate, and those of replies and the cost are upper bounds, or None if unknown.
    ``prompts`` are the first two conversations as text.
    """

    pairs: int
    requests: int
    prompt_tokens: int
    completion_tokens: int | None
    cost: float | None
    prompts: list[str]


def project(pairs: Path, out: Path, endpoint: Endpoint, options: LabelOptions, cache: Path | None = None) -> Projection:
    """Return what `label` would ask and cost with the same arguments; no request is sent."""
    labeller = Labeller(endpoint, cache or reply_cache(out), options, LlmReport())
    total = requests = tokens = 0
    prompts: list[str] = []
    for pair in read_pairs(pairs):
        total += 1
        messages, due = labeller.uncached(pair)
        if len(prompts) < 2:
            prompts.append("\n\n".join(f"{message['role']}:\n{message['content']}" for message in messages))
        requests += due
        tokens += due * round(most_tokens(messages) / _BYTES_PER_TOKEN)
    completion = None if endpoint.max_tokens is None else requests * endpoint.max_tokens
    cost = None if options.prices is None or completion is None else options.prices.cost(tokens, completion)
    return Projection(total, requests, tokens, completion, cost, prompts)
