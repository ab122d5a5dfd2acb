"""Reading the citations of a labelling model's reply."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
_NO_ANSWER = re.compile(
    r"\A\W*(?:(?:final\s+)?answer\s*:\s*)?\W*(?:no[\s_-]*answer|none|unanswerable|not\s+answerable|\[\s*\])\W*\Z",
    re.IGNORECASE,
)
_OPENS_NO_ANSWER = re.compile(r"\A\W*no[\s_-]*answer\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cited:
    """What a reply cites.

    Attributes:
        numbers: of the cited sentences from 1, ascending; empty where the reply says that there is no answer.
        problem: why the reply cannot be used: ``no_citation`` or ``bad_citation``; None where it can.
    """

    numbers: tuple[int, ...] = ()
    problem: str | None = None


def _expand(listed: str) -> set[int]:
    numbers: set[int] = set()
    for first, last in _RANGE.findall(listed):
        low, high = sorted((int(first), int(last)))
        numbers.update(range(low, high + 1))
    return numbers | {int(digits) for digits in _DIGITS.findall(_RANGE.sub(" ", listed))}


def read_citations(reply: str, count: int) -> Cited:
    """Read which sentences a reply cites.

    Args:
        reply: the model's text, thoughts left out.
        count: sentences of the passage. A reply that cites another number has not read the passage: ``bad_citation``.

    Returns:
        The cited sentences, none of them for a reply that says so, or what is wrong with the reply.
    """
    lists = _SQUARE.findall(reply)
    if not lists and _NO_ANSWER.match(reply):
        return Cited()
    if not lists:
        bare = _BARE.match(reply)
        lists = [bare[1]] if bare else _ROUND.findall(reply)
    if not lists:
        # "No answer. The passage is about cooking." says so with a reason; with citations it contradicts itself.
        return Cited() if _OPENS_NO_ANSWER.match(reply) else Cited(problem="no_citation")
    if _OPENS_NO_ANSWER.match(reply):
        return Cited()
    numbers = set().union(*map(_expand, lists))
    if min(numbers) < 1 or max(numbers) > count:
        return Cited(problem="bad_citation")
    return Cited(tuple(sorted(numbers)))
