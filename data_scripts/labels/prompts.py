"""What a labelling model reads: a question and a passage whose sentences are numbered.

After Provence (Chirkova et al., ICLR 2025, arXiv 2501.16214, section 3): the model answers from the passage alone and
cites the sentences that it used, which are the silver labels. `SELECT` asks for the sentences without an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from secateur.models.types import Unit

PromptStyle = Literal["answer", "select"]
NO_ANSWER = "No answer"

_ANSWER = (
    "You answer a question from one passage, whose sentences are numbered. Use nothing but what the passage says. "
    "Behind each statement put the numbers of all sentences that it rests on, in square brackets, such as [2] or "
    f"[2][5]. Be brief. If the passage does not help to answer the question, reply with exactly: {NO_ANSWER}"
)
_SELECT = (
    "You mark what helps to answer a question in one passage, whose sentences are numbered. Reply with the numbers of "
    "all sentences that a reader needs in order to answer, in square brackets, such as [2] or [2][5], and nothing "
    f"else. If no sentence helps, reply with exactly: {NO_ANSWER}"
)
_SYSTEM: dict[PromptStyle, str] = {"answer": _ANSWER, "select": _SELECT}


def numbered(passage: str, units: Sequence[Unit]) -> str:
    """Return a passage as the model sees it: a line a unit, its number from 1 before it."""
    return "\n".join(
        f"[{number}] {' '.join(passage[unit.start : unit.end].split())}" for number, unit in enumerate(units, 1)
    )


def label_messages(
    query: str, title: str, passage: str, units: Sequence[Unit], style: PromptStyle
) -> list[dict[str, str]]:
    """Return the conversation that asks for one passage's labels.

    Args:
        query: the question.
        title: shown above the passage; empty for none.
        passage: its text.
        units: of the text, at least one.
        style: ``answer`` for an answer with citations, ``select`` for the numbers alone.
    """
    heading = f"Title: {title}\n" if title else ""
    content = f"Question: {query}\n\n{heading}Passage:\n{numbered(passage, units)}\n\nQuestion again: {query}"
    return [{"role": "system", "content": _SYSTEM[style]}, {"role": "user", "content": content}]
