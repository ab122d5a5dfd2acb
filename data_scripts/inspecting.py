"""Looking at labels: samples with their kept units in colour, in the terminal or as a page of HTML."""

from __future__ import annotations

import html
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.printable import printable
from secateur.data_scripts.publish_filters import KEPT_FROM
from secateur.data_scripts.records import Labelled, parse_record
from secateur.labelled.examples import parse_example
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically
from secateur.models.segmentation import segment
from secateur.models.types import Passage

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Labels</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
body {{ color: #1a1a1a; background: #fff }}
article {{ border-top: 1px solid #bbb; padding: 1rem 0 }} h2 {{ font-size: 1.1rem; margin: 0 }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere }} .note {{ color: #555; font-size: .9rem; margin: .2rem 0 }}
mark {{ color: inherit; border-bottom: 2px solid #287a3c }} mark.some {{ border-bottom: 2px dashed #8a6d00 }}
</style></head><body><h1>Labels</h1>
<p class="note">Underlined: kept. Dashed: kept by fewer than half of the samples.</p>
{articles}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A passage with what its units are worth.

    Attributes:
        where: of the record.
        query: that was asked.
        title: of the passage.
        text: of the passage.
        units: ``[start, end)`` code points.
        labels: share of samples that kept each unit.
        note: the model's answer, or whatever there is to know.
    """

    where: str
    query: str
    title: str
    text: str
    units: tuple[tuple[int, int], ...]
    labels: tuple[float, ...]
    note: str = ""

    def pieces(self) -> Iterator[tuple[str, float]]:
        """Yield the text in pieces that tile it, each with its label; 0 between units."""
        at = 0
        for (start, end), label in zip(self.units, self.labels, strict=True):
            yield self.text[at:start], 0.0
            yield self.text[start:end], label
            at = end
        yield self.text[at:], 0.0


def _published(row: dict[str, Any], number: int, where: str) -> Iterator[Sample]:
    example = parse_example(row, number)
    for raw, passage in zip(row["passages"], example.passages, strict=True):
        text = passage.passage.text
        if raw.get("soft_labels") and raw.get("sentences"):
            units = tuple((int(start), int(end)) for start, end in raw["sentences"])
            labels = tuple(map(float, raw["soft_labels"]))
        else:
            found = segment(Passage(text))
            units = tuple((unit.start, unit.end) for unit in found)
            labels = tuple(map(float, passage.unit_labels(found)))
        if len(units) != len(labels):
            raise ValueError(f"{len(units)} sentences, but {len(labels)} soft_labels")
        teacher = "" if passage.teacher is None else f", teacher {passage.teacher:.2f}"
        note = ("relevant" if passage.relevant else "irrelevant") + teacher
        yield Sample(where, example.query, passage.passage.title or "", text, units, labels, note)


def _labelled(row: Any, where: str) -> Sample:
    label = parse_record(row, Labelled, where)
    return Sample(where, label.query, label.title, label.passage, label.units, label.labels, label.answer)


def read_samples(path: Path) -> Iterator[Sample]:
    """Read labels, or published examples, a passage at a time.

    Raises:
        DataError: the file cannot be read, or a line is neither; the message names it.
    """
    for number, line in filled_lines(path):
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
            if isinstance(row, dict) and "passages" in row:
                samples = list(_published(row, number, where))
            else:
                samples = [_labelled(row, where)]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"{where}: {type(error).__name__}: {error}") from error
        yield from samples


def draw(samples: Iterator[Sample], n: int, seed: int) -> list[Sample]:
    """Return some samples, in their order, without holding all of them (reservoir sampling)."""
    draws = random.Random(seed)
    chosen: list[tuple[int, Sample]] = []
    for number, sample in enumerate(samples):
        if len(chosen) < n:
            chosen.append((number, sample))
        else:
            place = draws.randint(0, number)
            if place < n:
                chosen[place] = (number, sample)
    return [sample for _, sample in sorted(chosen, key=lambda pair: pair[0])]


def _piece_html(text: str, label: float) -> str:
    escaped = html.escape(text)
    if not label or not text:
        return escaped
    some = "" if label >= KEPT_FROM else ' class="some"'
    return f'<mark{some} style="background: rgba(70, 190, 100, {0.5 * label:.2f})" title="{label:.2f}">{escaped}</mark>'


def to_html(samples: Sequence[Sample]) -> str:
    """Return a page that needs nothing else."""
    articles = []
    for sample in samples:
        text = "".join(_piece_html(*piece) for piece in sample.pieces())
        notes = [
            f'<p class="note">{html.escape(note)}</p>' for note in (sample.title, sample.note, sample.where) if note
        ]
        articles.append(
            f'<article><h2>{html.escape(sample.query)}</h2>{"".join(notes)}<p class="text">{text}</p></article>'
        )
    return _PAGE.format(articles="\n".join(articles))


def _print(samples: Sequence[Sample]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for sample in samples:
        text = Text()
        for piece, label in sample.pieces():
            style = "bold green" if label >= KEPT_FROM else "yellow" if label else "dim"
            text.append(printable(piece), style)
        console.rule(style="dim")
        console.print(Text(printable(sample.query), "bold"))
        for note in (sample.title, sample.note, sample.where):
            if note:
                console.print(Text(printable(note), "italic dim"))
        console.print(text)


def inspect(path: Path, n: int = 5, seed: int = 13, page: Path | None = None) -> None:
    """Show samples of a file.

    Args:
        path: labels, or published examples; JSON lines, gzipped or not.
        n: how many.
        seed: the same seed shows the same.
        page: write a page of HTML there; None prints them.

    Raises:
        DataError: the file cannot be read, or the page not be written.
        InputError: ``n`` is below 1.
    """
    if n < 1:
        raise InputError("--n", f"must be at least 1, not {n}", "give a larger number")
    samples = draw(read_samples(path), n, seed)
    if not samples:
        raise DataError(f"{path}: holds no labelled passage")
    if page is None:
        _print(samples)
    else:
        write_atomically(page, to_html(samples))
