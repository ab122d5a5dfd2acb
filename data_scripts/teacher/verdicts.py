"""Prompts of a judging language model, the reading of its replies, and logits from verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from secateur.data_scripts.llm_run import Messages
from secateur.data_scripts.records import Candidate
from secateur.llm.cache import Completion
from secateur.llm.endpoint import without_thoughts

MAX_LOGIT = 10.0
"""Largest absolute value of a logit: values beyond it tell a student nothing more."""
WORD_LOGIT = 4.0
"""Absolute logit of a plain yes or no without log probabilities: a probability of 0.98."""

_WORD = re.compile(r"[^\W\d_]+")
_LEADING = re.compile(r"\W*(?:passage\s*)?([ab])\b", re.IGNORECASE)
_NAMED = re.compile(r"\bpassage\s*\W?([ab])\b", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\s*(\d{1,6})\s*\]")
_BARE = re.compile(r"[\d\s>,;.=]+")


def shown_text(passage: Candidate) -> str:
    """Return what a teacher reads of a passage: its title and its text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _asked(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def pointwise_messages(query: str, passage: Candidate) -> Messages:
    """Ask whether a passage answers a query: relevance generation (Liang et al. 2022, HELM, arXiv 2211.09110)."""
    return _asked(
        f"Passage:\n{shown_text(passage)}\n\nQuery: {query}\n\n"
        "Does the passage answer the query? Reply with one word, Yes or No."
    )


def pairwise_messages(query: str, a: Candidate, b: Candidate) -> Messages:
    """Ask which of two passages is more relevant (PRP: Qin et al. 2023, arXiv 2306.17563)."""
    return _asked(
        f'Given a query "{query}", which of the following two passages is more relevant to the query?\n\n'
        f"Passage A:\n{shown_text(a)}\n\nPassage B:\n{shown_text(b)}\n\nReply with Passage A or Passage B only."
    )


def listwise_messages(query: str, passages: Sequence[Candidate]) -> Messages:
    """Ask for an order of some passages (RankGPT: Sun et al. 2023, arXiv 2304.09542)."""
    numbered = "\n\n".join(f"[{number}] {shown_text(one)}" for number, one in enumerate(passages, 1))
    return _asked(
        f"Rank the {len(passages)} passages below by their relevance to the query: {query}\n\n{numbered}\n\n"
        f"Query: {query}\n\nList all identifiers, the most relevant first, as in [2] > [1]. Reply with the order only."
    )


def read_yes_no(reply: Completion) -> float | None:
    """Return the log odds of yes over no; None for a reply that is neither.

    With log probabilities of the first token, the probabilities of all spellings of each word are added up. Where only
    one word is among these tokens, the other gets the least probability among them, or what they leave if that is less.
    Without log probabilities, the first word decides between plus and minus `WORD_LOGIT`.
    """
    sums: dict[str, float] = {}
    for token, value in reply.first_tokens:
        word = token.strip().lower()
        if word in ("yes", "no"):
            sums[word] = sums.get(word, 0.0) + math.exp(value)
    if sums and max(sums.values()) > 0:  # a spelling may be so unlikely that its probability is 0
        known = [math.exp(value) for _, value in reply.first_tokens]
        least = min(*known, 1 - sum(known))
        odds = math.log(max(sums.get("yes", least), 1e-12)) - math.log(max(sums.get("no", least), 1e-12))
        return max(-MAX_LOGIT, min(MAX_LOGIT, odds))
    first = _WORD.search(without_thoughts(reply.text).lower())
    return None if first is None else {"yes": WORD_LOGIT, "no": -WORD_LOGIT}.get(first[0])


def read_preference(reply: Completion) -> bool | None:
    """Return whether the first of two passages is preferred; None for a reply that names neither, or both."""
    text = without_thoughts(reply.text)
    # "A is better" begins with a letter, and so does "A close call": only a letter alone, or after "passage", counts.
    leading = _LEADING.match(text)
    if leading is not None and (leading.end() >= len(text.rstrip(" .!*\n\"'")) or "passage" in leading[0].lower()):
        return leading[1].lower() == "a"
    named = {match.lower() for match in _NAMED.findall(text)}
    return named == {"a"} if len(named) == 1 else None


def read_order(reply: Completion, count: int) -> list[int] | None:
    """Return the order of passages, from 0, in a reply such as ``[2] > [1]``; None if there is none.

    Repeated and unknown numbers are ignored; missing passages follow in their old order.
    """
    text = without_thoughts(reply.text)
    numbers = _BRACKETED.findall(text)
    if not numbers and _BARE.fullmatch(text):
        numbers = re.findall(r"\d{1,6}", text)
    named = list(dict.fromkeys(int(number) - 1 for number in numbers if 1 <= int(number) <= count))
    return [*named, *(place for place in range(count) if place not in named)] if named else None


def share_logits(wins: Sequence[float], rounds: int) -> list[float]:
    """Return the logit of each passage's share of won comparisons, half a win and half a loss added.

    Args:
        wins: Comparisons won by each passage; a tie is half a win.
        rounds: Comparisons of each passage.
    """
    return [math.log((won + 0.5) / (rounds - won + 0.5)) for won in wins]


def rank_logits(order: Sequence[int]) -> list[float]:
    """Return a logit for each passage of an order, best first: that of the share of others that rank below it.

    Orders and comparisons thus give scores on one scale. They do not say whether any passage answers the query.
    """
    wins = [0.0] * len(order)
    for place, passage in enumerate(order):
        wins[passage] = len(order) - 1.0 - place
    return share_logits(wins, len(order) - 1)
