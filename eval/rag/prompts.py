"""What the answering model reads: a question with full, pruned or no context."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from secateur.labelled.examples import Example
from secateur.models.pruner import Pruner

ContextName = Literal["full", "pruned", "none"]
CONTEXTS: tuple[ContextName, ...] = ("full", "pruned", "none")

_SHORT = "Answer with the shortest phrase that answers it: no sentence, no explanation."
_WITH_CONTEXT = (
    f"You answer a question with the help of numbered passages, some of which may be beside the point. {_SHORT} If "
    "the passages do not hold the answer, answer from what you know; if you do not know either, say: I do not know"
)
_WITHOUT_CONTEXT = f"You answer a question from what you know. {_SHORT} If you do not know, say: I do not know"


@dataclass(frozen=True, slots=True)
class Context:
    """Passages as the model reads them, and the tokens of their texts by the pruner's tokenizer, titles left out."""

    name: ContextName
    text: str
    tokens: int


def _numbered(passages: Iterable[tuple[str | None, str]]) -> str:
    """Return passages (title, text) as the model reads them."""
    shown = (f"{title}\n{text}" if title else text for title, text in passages)
    return "\n\n".join(f"[{number}] {text}" for number, text in enumerate(shown, 1))


def contexts(pruner: Pruner, example: Example, threshold: float | None) -> tuple[Context, ...]:
    """Return the contexts of an example: all passages, what the pruner keeps of them by relevance, and nothing.

    Raises:
        InputError: The pruner refuses the example.
    """
    passages = [labelled.passage for labelled in example.passages]
    result = pruner.prune(example.query, passages, threshold=threshold, drop_empty=True, truncate_query=True)
    kept = [(passages[item.index].title, item.text) for item in result.results]
    return (
        Context("full", _numbered((passage.title, passage.text) for passage in passages), result.usage.input_tokens),
        Context("pruned", _numbered(kept), result.usage.output_tokens),
        Context("none", "", 0),
    )


def answer_messages(query: str, context: str) -> list[dict[str, str]]:
    """Return the messages that ask for an answer; the context is empty for none, also where a pruner keeps nothing."""
    system, content = _WITHOUT_CONTEXT, f"Question: {query}"
    if context:
        system, content = _WITH_CONTEXT, f"Passages:\n\n{context}\n\n{content}"
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]
