"""What a teacher model is asked, how its replies are read, and how verdicts become logits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from secateur.data_scripts.records import Candidate
from secateur.llm.cache import Completion
from secateur.llm.endpoint import without_thoughts

Messages = list[dict[str, str]]

MOST = 10.0  # a logit's absolute value: what lies beyond tells a student nothing more
SAID = 4.0  # of a plain yes or no without log probabilities: a probability of 0.98

_WORD = re.compile(r"[^\W\d_]+")
_LEADING = re.compile(r"\W*(?:passage\s*)?([ab])\b", re.IGNORECASE)
_NAMED = re.compile(r"\bpassage\s*\W?([ab])\b", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\s*(\d{1,6})\s*\]")
_BARE = re.compile(r"[\d\s>,;.=]+")


def shown_text(passage: Candidate) -> str:
    """Return what a teacher reads of a passage: its title and its text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _ask(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def pointwise_messages(query: str, passage: Candidate) -> Messages:
    """Ask whether a passage answers a query: relevance generation (Liang et al. 2022, HELM, arXiv 2211.09110)."""
    return _ask(
        f"Passage:\n{shown_text(passage)}\n\nQuery: {query}\n\n"
        "Does the passage answer the query? Reply with one word, Yes or No."
    )


def pairwise_messages(query: str, a: Candidate, b: Candidate) -> Messages:
    """Ask which of two passages is better (Qin et al. 2023, arXiv 2306.17563)."""
    return _ask(
        f'Given a query "{query}", which of the following two passages is more relevant to the query?\n\n'
        f"Passage A:\n{shown_text(a)}\n\nPassage B:\n{shown_text(b)}\n\nReply with Passage A or Passage B only."
    )


def listwise_messages(query: str, passages: Sequence[Candidate]) -> Messages:
    """Ask for an order of some passages (RankGPT: Sun et al. 2023, arXiv 2304.09542)."""
    listed = "\n\n".join(f"[{number}] {shown_text(one)}" for number, one in enumerate(passages, 1))
    return _ask(
        f"Rank the {len(passages)} passages below by their relevance to the query: {query}\n\n{listed}\n\n"
        f"Query: {query}\n\nList all identifiers, the most relevant first, as in [2] > [1]. Reply with the order only."
    )


def read_yes_no(reply: Completion) -> float | None:
    """Return the log odds of yes over no; None for a reply that is neither.

    With log probabilities of the first token: those of all spellings of yes together, minus those of no; where only one
    of the two is among the tokens that came, the other counts as the least likely of these, or as what they leave of
    all probability if that is less. Without: plus or minus
    `SAID` by the first word.
    """
    sums: dict[str, float] = {}
    for token, value in reply.first_tokens:
        word = token.strip().lower()
        if word in ("yes", "no"):
            sums[word] = sums.get(word, 0.0) + math.exp(value)
    # Spellings so unlikely that their probability is 0 leave nothing to compare.
    if sums and max(sums.values()) > 0:
        shown = [math.exp(value) for _, value in reply.first_tokens]
        least = min(*shown, 1 - sum(shown))
        odds = math.log(max(sums.get("yes", least), 1e-12)) - math.log(max(sums.get("no", least), 1e-12))
        return max(-MOST, min(MOST, odds))
    first = _WORD.search(without_thoughts(reply.text).lower())
    return None if first is None else {"yes": SAID, "no": -SAID}.get(first[0])


def read_preference(reply: Completion) -> bool | None:
    """Return whether the first of two passages is preferred; None for a reply that names neither, or both."""
    text = without_thoughts(reply.text)
    # "A is better" begins with a letter, and so does "A close call"; only a name alone, or with its noun, is trusted.
    leading = _LEADING.match(text)
    if leading is not None and (leading.end() >= len(text.rstrip(" .!*\n\"'")) or "passage" in leading[0].lower()):
        return leading[1].lower() == "a"
    named = {match.lower() for match in _NAMED.findall(text)}
    return named == {"a"} if len(named) == 1 else None


def read_order(reply: Completion, count: int) -> list[int] | None:
    """Return an order of passages, from 0, off a reply such as ``[2] > [1]``; None for one that holds none.

    Numbers that stand twice or that no passage has are passed over; passages that are missing follow in their old
    order.
    """
    text = without_thoughts(reply.text)
    numbers = _BRACKETED.findall(text)
    if not numbers and _BARE.fullmatch(text):
        numbers = re.findall(r"\d{1,6}", text)
    named = list(dict.fromkeys(int(number) - 1 for number in numbers if 1 <= int(number) <= count))
    return [*named, *(place for place in range(count) if place not in named)] if named else None


def share_logits(wins: Sequence[float], rounds: int) -> list[float]:
    """Return logits of the shares of comparisons that passages won, half a win and half a loss added.

    Args:
        wins: of each passage; a tie is half a win.
        rounds: comparisons of each.
    """
    return [math.log((won + 0.5) / (rounds - won + 0.5)) for won in wins]


def rank_logits(order: Sequence[int]) -> list[float]:
    """Return a logit for each passage by its rank r of n: log((n - r + 0.5) / (r - 0.5)).

    That is what the share of the other passages that it stands above comes to, so that orders and comparisons give
    scores of one scale. Such scores tell passages of one query apart; they do not say whether any answers it.

    Args:
        order: passages, the best first.
    """
    count = len(order)
    logits = [0.0] * count
    for place, passage in enumerate(order):
        logits[passage] = math.log((count - place - 0.5) / (place + 0.5))
    return logits
