"""`prune_context`: from retrieved texts to the pruned context of a prompt, in numbered blocks."""

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
    """Return the kept parts of texts as one string: one block per text, with its number and title.

    Texts are numbered from 1 by their position in `texts`, in whatever order they appear, so an answer's ``[2]`` is
    ``texts[1]``. A text without a kept unit is left out.

    Args:
        query: Question or instruction that the texts are pruned for.
        texts: Strings, `Passage`s, or mappings with a `Passage`'s fields; an empty list gives an empty context.
        pruner: A `Pruner` or a `Client`; the shipped model, loaded once per process, if unset.
        options: Options of `Pruner.prune`, such as `max_tokens` or `top_n`.

    Raises:
        InputError: An argument is wrong; the message names it.
        ServiceError: The client's service did not answer.
    """
    if not isinstance(texts, str) and isinstance(texts, Sequence) and not texts:
        return ""
    from secateur.models.requests import as_passage

    result = (pruner or _shipped()).prune(query, texts, **options)
    titles = [as_passage(text, f"texts[{index}]").title for index, text in enumerate(texts)]
    return format_context(result, titles)


def format_context(result: PruneResult, titles: Sequence[str | None]) -> str:
    """Return the passages of a result that are not empty as numbered blocks, with titles in the caller's order."""
    blocks = []
    for item in result.results:
        if not item.empty:
            title = " ".join((titles[item.index] or "").split())
            head = f"[{item.index + 1}] {title}\n" if title else f"[{item.index + 1}] "
            blocks.append(head + item.text)
    return "\n\n".join(blocks)


@cache
def _shipped() -> Pruner:
    from secateur.models.pruner import Pruner

    return Pruner.load()
