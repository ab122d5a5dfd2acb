"""What a terminal shows of a result: kept text plain and dropped text dimmed, with scores and reasons."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from secateur.models.formats.building import lines_of
from secateur.models.types import Passage, PassageResult, PruneResult, UnitScore


def show(console: Console, passages: Sequence[Passage], result: PruneResult) -> None:
    """Print every returned passage with the scores of its units, and the compression.

    A unit that is kept or dropped for a reason other than its score says so. Passages of the format `lines` have the
    numbers of their lines in front.

    Args:
        console: Where to print.
        passages: The passages that were pruned.
        result: The result, with units.
    """
    for item in result.results:
        passage = passages[item.index]
        header = Text(str(passage.id) if passage.id is not None else f"passage {item.index}", style="bold")
        header.append(f"  relevance {item.score:.2f}  kept {item.kept_units} of {item.total_units} units", style="cyan")
        console.print(header)
        text = (_numbered if item.format == "lines" else _running)(passage.text, item)
        text.rstrip()
        console.print(text, soft_wrap=True)
        console.print()
    usage = result.usage
    console.print(f"{usage.input_tokens} tokens in, {usage.output_tokens} out: {usage.compression:.0%} dropped")


def _style(unit: UnitScore) -> str:
    return "" if unit.kept else "dim"


def _append_score(text: Text, unit: UnitScore) -> None:
    if unit.kind != "markup":  # it is never scored
        reason = f" {unit.reason}" if unit.reason not in (None, "score") else ""
        text.append(f" {unit.score:.2f}{reason}", style="green" if unit.kept else "dim red")


def _running(passage: str, item: PassageResult) -> Text:
    text = Text()
    for unit in item.units or ():
        body = passage[unit.start : unit.end]
        text.append(body.rstrip(), style=_style(unit))
        _append_score(text, unit)
        text.append(body[len(body.rstrip()) :] or (" " if unit.kind != "markup" else ""))
    return text


def _numbered(passage: str, item: PassageResult) -> Text:
    text = Text()
    width = len(str(sum(1 for _ in lines_of(passage))))
    number = 0
    for unit in item.units or ():
        lines = [passage[start:end].rstrip() for start, end in lines_of(passage, unit.start, unit.end)]
        last = max((place for place, line in enumerate(lines) if line), default=0)
        for place, line in enumerate(lines):
            number += 1
            text.append(f"{number:>{width}} ", style="cyan" if unit.kept else "dim cyan")
            text.append(line, style=_style(unit))
            if place == last:
                _append_score(text, unit)
            text.append("\n")
    return text
