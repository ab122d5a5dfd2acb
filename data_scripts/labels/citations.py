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
class Citation:
    """The sentences that a reply cites.

    Attributes:
        numbers: Sentence numbers from 1, ascending; empty if the reply says that there is no answer.
        problem: Why the reply cannot be used: ``no_citation`` or ``bad_citation``; None if it can.
    """

    numbers: tuple[int, ...] = ()
    problem: str | None = None


def _expand(listed: str) -> set[int]:
    numbers: set[int] = set()
    for first, last in _RANGE.findall(listed):
        low, high = sorted((int(first), int(last)))
        numbers.update(range(low, high + 1))
    return numbers | {int(digits) for digits in _DIGITS.findall(_RANGE.sub(" ", listed))}


def read_citations(reply: str, count: int) -> Citation:
    """Return the sentences that a reply, without thoughts, cites, or why it cannot be used.

    A reply that cites a number beyond the ``count`` sentences of the passage has not read it: ``bad_citation``.
    """
    if _OPENS_NO_ANSWER.match(reply):  # with a reason behind it, or with citations that it contradicts
        return Citation()
    lists = _SQUARE.findall(reply)
    if not lists and _NO_ANSWER.match(reply):
        return Citation()
    if not lists:
        bare = _BARE.match(reply)
        lists = [bare[1]] if bare else _ROUND.findall(reply)
    if not lists:
        return Citation(problem="no_citation")
    numbers = set().union(*map(_expand, lists))
    if min(numbers) < 1 or max(numbers) > count:
        return Citation(problem="bad_citation")
    return Citation(tuple(sorted(numbers)))
