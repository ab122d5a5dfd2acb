"""Silver labels by a language model, from the sentences that its replies cite.

After Provence (Chirkova et al., ICLR 2025, arXiv 2501.16214, section 3): the model answers from the passage alone and
cites the sentences that it used. The style ``select`` asks for the sentences without an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from secateur.data_scripts.llm_run import LlmLimits, LlmReport, LlmRun, Messages
from secateur.data_scripts.records import Labelled, Pair
from secateur.data_scripts.validation import Count
from secateur.labelled.readable import is_scored, readable_text
from secateur.llm.budget import tokens_of
from secateur.llm.cache import Completion
from secateur.llm.endpoint import Endpoint, Failed, without_thoughts
from secateur.models.errors import InputError
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage, Unit

PromptStyle = Literal["answer", "select"]
_NO_ANSWER = "No answer"
_SYSTEM: dict[PromptStyle, str] = {
    "answer": (
        "You answer a question from one passage, whose sentences are numbered. Use nothing but what the passage says. "
        "Behind each statement put the numbers of all sentences that it rests on, in square brackets, such as [2] or "
        f"[2][5]. Be brief. If the passage does not help to answer the question, reply with exactly: {_NO_ANSWER}"
    ),
    "select": (
        "You mark what helps to answer a question in one passage, whose sentences are numbered. Reply with the numbers "
        "of all sentences that a reader needs in order to answer, in square brackets, such as [2] or [2][5], and "
        f"nothing else. If no sentence helps, reply with exactly: {_NO_ANSWER}"
    ),
}

_NUMBER = r"(?:(?:sentences?|sent\.?|s|lines?|no\.?|nos\.?|#)\s*)*\d{1,4}"
_BETWEEN = r"\s*(?:,|;|&|/|\band\b|\bto\b|\.\.+|[-–—‒−]|\s)\s*"
# [1], [1, 2], [1-3], [1][2], (1), 【1】, [sentence 2], [1 and 3]. Round brackets hold prose too ("(1889)" is a
# year), so they count only where the reply has no square ones.
_LIST = rf"\^?\s*({_NUMBER}(?:{_BETWEEN}{_NUMBER})*)\s*"
_SQUARE = re.compile(rf"[\[【［]{_LIST}[\]】］]", re.IGNORECASE)
_ROUND = re.compile(rf"\({_LIST}\)", re.IGNORECASE)
_BARE = re.compile(rf"\A\W*{_LIST}\W*\Z", re.IGNORECASE)
_RANGE = re.compile(r"(\d+)\s*(?:-|–|—|‒|−|\.\.+|\bto\b)\s*(?:(?:sentences?|s|#)\s*)?(\d+)", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_NO_ANSWER_ALONE = re.compile(
    r"\A\W*(?:(?:final\s+)?answer\s*:\s*)?\W*(?:no[\s_-]*answer|none|unanswerable|not\s+answerable|\[\s*\])\W*\Z",
    re.IGNORECASE,
)
_OPENS_NO_ANSWER = re.compile(r"\A\W*no[\s_-]*answer\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabelOptions(LlmLimits):
    """How a language model labels pairs.

    Attributes:
        style: ``answer`` asks for an answer with citations, ``select`` for the sentence numbers alone.
        samples: Number of replies for each pair; a label is the share of them that cite the unit (self-consistency).
            More than one needs a temperature above 0.
        segmenter: Sentence segmenter; that of the model that will be trained.
    """

    style: PromptStyle = "answer"
    samples: Count = 1
    segmenter: str = "nupunkt"


@dataclass(frozen=True, slots=True)
class NotLabelled:
    """A pair without labels, and whether the next run asks ``again``.

    The reason is ``no_units`` or ``no_answers_known``; ``no_citation``, ``bad_citation``, ``cut_off`` or ``empty`` for
    an unusable reply; a `Failed.reason` for no reply; or ``not_asked`` once the budget is spent.
    """

    reason: str
    again: bool = False


Outcome = Labelled | NotLabelled


def labelled(pair: Pair, units: Sequence[Unit], labels: Iterable[float], answer: str) -> Labelled:
    """Return a pair with labels for its units."""
    known = {item.name: getattr(pair, item.name) for item in fields(Pair)}
    spans = tuple((unit.start, unit.end) for unit in units)
    return Labelled(**known, units=spans, labels=tuple(labels), answer=answer)


def pair_units(pair: Pair, segmenter: str) -> list[Unit]:
    """Return the units of a pair's passage; none if it is blank."""
    passage = Passage(pair.passage, title=pair.title or None, format=pair.format)
    return segment(passage, get_segmenter(segmenter)) if pair.passage.strip() else []


def _expand(listed: str) -> set[int]:
    numbers: set[int] = set()
    for first, last in _RANGE.findall(listed):
        low, high = sorted((int(first), int(last)))
        numbers.update(range(low, high + 1))
    return numbers | {int(digits) for digits in _DIGITS.findall(_RANGE.sub(" ", listed))}


def read_citations(reply: str, count: int) -> tuple[int, ...] | NotLabelled:
    """Return the sentences that a reply, without thoughts, cites, from 1 and ascending; none for "no answer".

    A reply that cites a number beyond the ``count`` sentences of the passage has not read it: ``bad_citation``.
    """
    if _OPENS_NO_ANSWER.match(reply):  # with a reason behind it, or with citations that it contradicts
        return ()
    lists = _SQUARE.findall(reply)
    if not lists and _NO_ANSWER_ALONE.match(reply):
        return ()
    if not lists:
        bare = _BARE.match(reply)
        lists = [bare[1]] if bare else _ROUND.findall(reply)
    if not lists:
        return NotLabelled("no_citation")
    numbers = set().union(*map(_expand, lists))
    if min(numbers) < 1 or max(numbers) > count:
        return NotLabelled("bad_citation")
    return tuple(sorted(numbers))


def _cited(reply: Completion, count: int) -> tuple[int, ...] | NotLabelled:
    text = without_thoughts(reply.text)
    if not text:
        return NotLabelled("empty")
    # A reply that the token limit cut off may have cited more.
    return NotLabelled("cut_off") if reply.finish_reason == "length" else read_citations(text, count)


class Labeller:
    """Labels pairs: the run's `map` calls `label` for several at once. The report counts the requests."""

    def __init__(self, endpoint: Endpoint, cache: Path, options: LabelOptions, report: LlmReport) -> None:
        samples, endpoints = options.samples, [endpoint]
        if samples > 1:
            if endpoint.temperature == 0:
                raise InputError("temperature", f"is 0 with {samples} samples", "give one above 0, such as 0.7")
            # The seeds make them different requests, with own places in the cache.
            endpoints = [replace(endpoint, extra={**endpoint.extra, "seed": number}) for number in range(samples)]
        self.run = LlmRun(endpoints, cache, options, report)
        self._options = options

    def messages(self, pair: Pair, units: Sequence[Unit]) -> Messages:
        """Return the conversation that asks for a pair's labels; units that can be kept are numbered from 1."""
        texts = [readable_text(pair.passage, unit) for unit in units if is_scored(pair.passage, unit)]
        lines = [f"[{number}] {' '.join(text.split())}" for number, text in enumerate(texts, 1)]
        title = f"Title: {pair.title}\n" if pair.title else ""
        passage = "\n".join(lines)
        content = f"Question: {pair.query}\n\n{title}Passage:\n{passage}\n\nQuestion again: {pair.query}"
        system = _SYSTEM[self._options.style]
        return [{"role": "system", "content": system}, {"role": "user", "content": content}]

    def uncached(self, pair: Pair) -> tuple[Messages, int]:
        """Return a pair's conversation, and how many samples have no cached reply; those that have cost the job."""
        messages = self.messages(pair, pair_units(pair, self._options.segmenter))
        return messages, sum(self.run.cached(messages, one) is None for one in range(self._options.samples))

    async def label(self, pair: Pair) -> Outcome:
        """Label a pair."""
        units = pair_units(pair, self._options.segmenter)
        scored = [index for index, unit in enumerate(units) if is_scored(pair.passage, unit)]
        if not scored or not pair.query.strip():
            return NotLabelled("no_units")
        messages = self.messages(pair, units)
        replies: list[Completion] = []
        for sample in range(self._options.samples):
            reply = await self.run.ask(messages, sample)
            if isinstance(reply, Failed):
                return NotLabelled(reply.reason, again=True)
            replies.append(reply)
        cited = [(reply, _cited(reply, len(scored))) for reply in replies]
        usable = [(reply, numbers) for reply, numbers in cited if not isinstance(numbers, NotLabelled)]
        if not usable and isinstance(cited[0][1], NotLabelled):
            return cited[0][1]
        shares = dict.fromkeys(range(len(units)), 0.0)
        for number, index in enumerate(scored, 1):
            shares[index] = sum(number in numbers for _, numbers in usable) / len(usable)
        answers = (without_thoughts(reply.text) for reply, numbers in usable if numbers)
        tokens = [tokens_of(messages, reply) for reply in replies]
        prompt, completion = map(sum, zip(*tokens, strict=True))
        usage: dict[str, float] = {"prompt_tokens": prompt, "completion_tokens": completion}
        if self._options.prices is not None:
            usage["cost"] = round(sum(self._options.prices.cost(*counts) for counts in tokens), 9)
        found = labelled(pair, units, shares.values(), next(answers, ""))
        return replace(found, raw=tuple(reply.text for reply in replies), usage=usage)
