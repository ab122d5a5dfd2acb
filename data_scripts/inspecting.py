"""Showing samples of labelled passages with their kept units in colour, in the terminal or as an HTML page."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.data_scripts.publish_filters import KEPT_FROM
from secateur.data_scripts.records import Labelled, parse_record, parsed_lines
from secateur.data_scripts.reports import printable
from secateur.labelled.examples import parse_example
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically
from secateur.models.segmentation import segment

if TYPE_CHECKING:
    from rich.console import Console

_PAGE_WIDTH = 120  # characters


@dataclass(frozen=True, slots=True)
class Sample:
    """A passage with the labels of its units.

    Attributes:
        where: File and line.
        query: The query's text.
        title: Title of the passage.
        text: Text of the passage.
        units: ``[start, end)`` code points of each unit.
        labels: Share of samples that kept each unit.
        note: The model's answer, or the relevance of the passage.
    """

    where: str
    query: str
    title: str
    text: str
    units: tuple[tuple[int, int], ...]
    labels: tuple[float, ...]
    note: str = ""

    def pieces(self) -> Iterator[tuple[str, float]]:
        """Yield pieces that tile the text, each with its label; text between units has label 0."""
        at = 0
        for (start, end), label in zip(self.units, self.labels, strict=True):
            yield self.text[at:start], 0.0
            yield self.text[start:end], label
            at = end
        yield self.text[at:], 0.0


def _published(row: dict[str, Any], number: int, where: str) -> Iterator[Sample]:
    example = parse_example(row, number)
    for raw, labelled in zip(row["passages"], example.passages, strict=True):
        if raw.get("soft_labels") and raw.get("sentences"):
            units = tuple((int(start), int(end)) for start, end in raw["sentences"])
            labels = tuple(map(float, raw["soft_labels"]))
        else:
            segmented = segment(labelled.passage)
            units = tuple((unit.start, unit.end) for unit in segmented)
            labels = tuple(map(float, labelled.unit_labels(segmented)))
        if len(units) != len(labels):
            raise ValueError(f"{len(units)} sentences, but {len(labels)} soft_labels")
        teacher = "" if labelled.teacher is None else f", teacher {labelled.teacher:.2f}"
        note = ("relevant" if labelled.relevant else "irrelevant") + teacher
        yield Sample(where, example.query, labelled.passage.title or "", labelled.passage.text, units, labels, note)


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the passages of a file of labels or of published examples.

    Raises:
        DataError: The file cannot be read or a line is neither; the message names it.
    """

    def samples(row: Any, number: int) -> list[Sample]:
        where = f"{path}, line {number}"
        if isinstance(row, dict) and "passages" in row:
            return list(_published(row, number, where))
        label = parse_record(row, Labelled, where)
        return [Sample(where, label.query, label.title, label.passage, label.units, label.labels, label.answer)]

    for found in parsed_lines(path, samples):
        yield from found


def draw(samples: Iterator[Sample], n: int, seed: int) -> list[Sample]:
    """Draw ``n`` samples at random, in their original order; only these are held in memory."""
    draws = random.Random(seed)
    drawn = heapq.nsmallest(n, ((draws.random(), number, sample) for number, sample in enumerate(samples)))
    return [sample for _, _, sample in sorted(drawn, key=itemgetter(1))]


def _print(samples: Sequence[Sample], console: Console) -> None:
    from rich.text import Text

    console.print(
        f"Kept units are green and underlined; those kept by less than {KEPT_FROM:.0%} of samples yellow and italic."
    )
    for sample in samples:
        console.rule(style="dim")
        console.print(Text(printable(sample.query), "bold"))
        for note in filter(None, (sample.title, sample.note, sample.where)):
            console.print(Text(printable(note), "italic dim"))
        text = Text()
        for piece, label in sample.pieces():
            style = "bold underline green" if label >= KEPT_FROM else "italic yellow" if label else "dim"
            text.append(printable(piece), style)
        console.print(text)


def inspect(path: Path, n: int = 5, seed: int = 13, page: Path | None = None) -> None:
    """Show samples of a file.

    Args:
        path: Labels or published examples: JSON lines, gzipped or not.
        n: Number of samples, at least 1.
        seed: Random seed.
        page: HTML file to write; None prints to the terminal.

    Raises:
        DataError: The file cannot be read or the page cannot be written.
        InputError: ``n`` is less than 1.
    """
    from rich.console import Console

    if n < 1:
        raise InputError("--n", f"must be at least 1, not {n}", "use a larger number")
    samples = draw(read_samples(path), n, seed)
    if not samples:
        raise DataError(f"{path}: has no labelled passages")
    if page is None:
        _print(samples, Console())
    else:
        console = Console(record=True, file=StringIO(), width=_PAGE_WIDTH)
        _print(samples, console)
        write_atomically(page, console.export_html())
