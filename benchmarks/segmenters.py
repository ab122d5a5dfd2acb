"""How well sentence segmenters agree with labelled sentence bounds, and how fast they are.

Bounds are compared after trailing white space; the end of a text is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import BenchTable
from secateur.labelled.examples import data_files, source_name
from secateur.labelled.json_files import json_lines
from secateur.models.errors import SecateurError
from secateur.models.segmenters import SEGMENTERS, Segmenter, get_segmenter

LabelledText = tuple[str, list[list[int]]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement with the labelled bounds of one source, and milliseconds per passage."""

    precision: float
    recall: float
    milliseconds: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def labelled_texts(path: Path) -> list[LabelledText]:
    """Return the texts of a data file that have labelled sentence bounds."""
    passages = [passage for _, row in json_lines(path) for passage in row["passages"]]
    return [(p["text"], p["sentences"]) for p in passages if p.get("sentences")]


def agreement(segmenter: Segmenter, texts: Sequence[LabelledText]) -> Agreement:
    """Compare the sentence ends of a segmenter with the labelled ones."""

    def bounds(text: str, ends: Sequence[int]) -> set[int]:
        return {len(text[:end].rstrip()) for end in ends} - {len(text.rstrip())}

    hits = given = gold = 0
    seconds = 0.0
    for text, sentences in texts:
        started = time.perf_counter()
        ends = segmenter(text)
        seconds += time.perf_counter() - started
        found, labelled = bounds(text, ends), bounds(text, [end for _, end in sentences])
        hits, given, gold = hits + len(found & labelled), given + len(found), gold + len(labelled)
    return Agreement(hits / max(given, 1), hits / max(gold, 1), seconds / max(len(texts), 1) * 1e3)


def measure_segmenters(data: Path) -> BenchTable:
    """Compare all installed segmenters on the sources that have labelled sentence bounds, averaged over sources."""
    sources = {source_name(path): texts for path in data_files(data) if (texts := labelled_texts(path))}
    rows, left_out = [], []
    for name in SEGMENTERS:
        try:
            segmenter = get_segmenter(name)
        except SecateurError as error:
            left_out.append(f" {name} was left out: {error}.")
            continue
        found = [agreement(segmenter, texts) for texts in sources.values()]
        means = [sum(getattr(a, at) for a in found) / len(found) for at in ("precision", "recall", "f1")]
        milliseconds = sum(one.milliseconds for one in found) / len(found)
        rows.append([name, *(f"{mean:.3f}" for mean in means), f"{milliseconds:.2f}"])
    header = ["segmenter", "precision", "recall", "F1", "ms a passage"]
    return BenchTable(header, rows, f"Averages over {', '.join(sources)}.{''.join(left_out)}")
