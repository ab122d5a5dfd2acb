"""A pruned result on a terminal: kept text plain, dropped text dimmed, with scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from secateur.models.types import Passage, PassageResult, PruneResult


def _passage(passage: Passage, result: PassageResult) -> Text:
    text = Text()
    for unit in result.units or ():
        body = passage.text[unit.start : unit.end]
        tail = body[len(body.rstrip()) :]
        text.append(body.rstrip(), style="" if unit.kept else "dim")
        text.append(f" {unit.score:.2f}", style="green" if unit.kept else "dim red")
        text.append(tail or " ")
    text.rstrip()
    return text


def show(console: Console, passages: Sequence[Passage], result: PruneResult) -> None:
    """Print every returned passage with its scores, and the compression.

    Args:
        console: Terminal to print on.
        passages: The caller's passages.
        result: Result of `Pruner.prune` with ``return_units``.
    """
    for item in result.results:
        passage = passages[item.index]
        header = Text(str(passage.id) if passage.id is not None else f"passage {item.index}", style="bold")
        header.append(f"  relevance {item.score:.2f}  kept {item.kept_units} of {item.total_units} units", style="cyan")
        console.print(header)
        console.print(_passage(passage, item), soft_wrap=True)
        console.print()
    usage = result.usage
    console.print(f"{usage.input_tokens} tokens in, {usage.output_tokens} out: {usage.compression:.0%} dropped")
