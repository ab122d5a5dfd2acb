"""`prune_context`: from retrieved texts to the context of a prompt, pruned, with numbered sources."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.client import Client
    from secateur.models.pruner import Pruner
    from secateur.models.requests import PassageLike
    from secateur.models.types import PruneResult


def prune_context(
    query: str, texts: Sequence[PassageLike], *, pruner: Pruner | Client | None = None, **options: Any
) -> str:
    """Return what is worth reading in texts as one string: a block a source, under its number and title.

    Sources are numbered from 1 by their place in `texts`, wherever relevance puts them, so that an answer's ``[2]``
    is ``texts[1]``. A source of which nothing is kept is left out.

    Args:
        query: the user's question.
        texts: strings, `Passage`s, or mappings with a `Passage`'s fields; none at all gives an empty context.
        pruner: a `Pruner` or a `Client`; default: the shipped model, loaded once a process.
        options: of `Pruner.prune`, such as `max_tokens` or `top_n`.

    Raises:
        InputError: an argument is wrong; the message names it.
        ServiceError: the client's service did not answer.
    """
    if not isinstance(texts, str) and isinstance(texts, Sequence) and not texts:
        return ""
    from secateur.models.requests import as_passage

    result = (pruner or _shipped()).prune(query, texts, **options)
    titles = [as_passage(text, f"texts[{index}]").title for index, text in enumerate(texts)]
    return format_context(result, titles)


def format_context(result: PruneResult, titles: Sequence[str | None]) -> str:
    """Return a result as numbered blocks.

    Args:
        result: whose empty passages are left out.
        titles: of all passages, in the caller's order.
    """
    blocks = []
    for item in result.results:
        if not item.empty:
            title = titles[item.index]
            head = f"[{item.index + 1}]" + (f" {' '.join(title.split())}\n" if title and title.strip() else " ")
            blocks.append(head + item.text)
    return "\n\n".join(blocks)


@cache
def _shipped() -> Pruner:
    from secateur.models.pruner import Pruner

    return Pruner.load()
