"""Showing samples of labelled passages with their kept units in colour, in the terminal or as an HTML page."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.data_scripts.records import Labelled, parse_record, parsed_lines
from secateur.data_scripts.reports import KEPT_FROM, printable
from secateur.data_scripts.validation import Count, check
from secateur.labelled.examples import parse_example
from secateur.models.errors import DataError
from secateur.models.files import write_atomically
from secateur.models.segmentation import segment

if TYPE_CHECKING:
    from rich.console import Console

_PAGE_WIDTH = 120  # characters


def pieces(sample: Labelled) -> Iterator[tuple[str, float]]:
    """Yield pieces that tile the passage, each with its label; text between units has label 0."""
    text, at = sample.passage, 0
    for (start, end), label in zip(sample.units, sample.labels, strict=True):
        yield text[at:start], 0.0
        yield text[start:end], label
        at = end
    yield text[at:], 0.0


def _published(row: dict[str, Any], number: int, where: str) -> Iterator[Labelled]:
    """Yield the passages of a published example; the answer of each says whether it is relevant."""
    example = parse_example(row, number)
    for raw, labelled in zip(row["passages"], example.passages, strict=True):
        passage = labelled.passage
        if raw.get("soft_labels") and raw.get("sentences"):
            units = tuple((int(start), int(end)) for start, end in raw["sentences"])
            labels = tuple(map(float, raw["soft_labels"]))
        else:
            segmented = segment(passage)
            units = tuple((unit.start, unit.end) for unit in segmented)
            labels = tuple(map(float, labelled.unit_labels(segmented)))
        teacher = "" if labelled.teacher is None else f", teacher {labelled.teacher:.2f}"
        note = ("relevant" if labelled.relevant else "irrelevant") + teacher
        yield Labelled(where, example.query, passage.text, units, labels, note, title=passage.title or "")


def read_samples(path: Path) -> Iterator[Labelled]:
    """Yield the passages of a file of labels or of published examples; the id of each is its file and line.

    Raises:
        DataError: The file cannot be read or a line is neither; the message names it.
    """

    def samples(row: Any, number: int) -> list[Labelled]:
        where = f"{path}, line {number}"
        if isinstance(row, dict) and "passages" in row:
            return list(_published(row, number, where))
        return [replace(parse_record(row, Labelled, where), id=where)]

    for found in parsed_lines(path, samples):
        yield from found


def draw(samples: Iterator[Labelled], n: int, seed: int) -> list[Labelled]:
    """Draw ``n`` samples at random, in their original order; only these are held in memory."""
    draws = random.Random(seed)
    drawn = heapq.nsmallest(n, ((draws.random(), number, sample) for number, sample in enumerate(samples)))
    return [sample for _, _, sample in sorted(drawn, key=itemgetter(1))]


def _print(samples: Sequence[Labelled], console: Console) -> None:
    from rich.text import Text

    console.print(
        f"Kept units are green and underlined; those kept by less than {KEPT_FROM:.0%} of samples yellow and italic."
    )
    for sample in samples:
        console.rule(style="dim")
        console.print(Text(printable(sample.query), "bold"))
        for note in filter(None, (sample.title, sample.answer, sample.id)):
            console.print(Text(printable(note), "italic dim"))
        text = Text()
        for piece, label in pieces(sample):
            style = "bold underline green" if label >= KEPT_FROM else "italic yellow" if label else "dim"
            text.append(printable(piece), style)
        console.print(text)


def inspect(path: Path, n: int = 5, seed: int = 13, page: Path | None = None) -> None:
    """Print samples of labels or published examples, or write them as an HTML page."""
    from rich.console import Console

    check("n", n, Count)
    samples = draw(read_samples(path), n, seed)
    if not samples:
        raise DataError(f"{path}: has no labelled passages")
    if page is None:
        _print(samples, Console())
    else:
        console = Console(record=True, file=StringIO(), width=_PAGE_WIDTH)
        _print(samples, console)
        write_atomically(page, console.export_html())
