"""How well sentence segmenters agree with labelled sentence bounds, and how fast they are.

``python -m secateur.eval.segmentation DIR``: over the sources that carry sentence bounds, boundary precision, recall
and F1 (offsets compared behind trailing white space, a text's end left out) and milliseconds a passage.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.labelled.markdown_blocks import markdown_table
from secateur.labelled.examples import data_files, source_name
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import SecateurError
from secateur.models.segmenters import SEGMENTERS, Segmenter, get_segmenter

LabelledText = tuple[str, list[list[int]]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Boundary agreement on one source."""

    precision: float
    recall: float
    milliseconds: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def labelled_texts(path: Path) -> list[LabelledText]:
    """Return the texts of a data file that carry sentence bounds."""
    passages = [passage for _, line in filled_lines(path) for passage in parse_json(line)["passages"]]
    return [(p["text"], p["sentences"]) for p in passages if p.get("sentences")]


def measure(segmenter: Segmenter, texts: Sequence[LabelledText]) -> Agreement:
    """Compare a segmenter's sentence ends with the labelled ones."""

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


def main(data: Path) -> str:
    """Return a Markdown table of all segmenters on all sources with sentence bounds, and the macro averages."""
    sources = {source_name(path): texts for path in data_files(data) if (texts := labelled_texts(path))}
    rows = []
    for name in SEGMENTERS:
        try:
            segmenter = get_segmenter(name)
        except SecateurError as error:
            sys.stderr.write(f"{name} left out: {error}\n")
            continue
        results = {source: measure(segmenter, texts) for source, texts in sources.items()}
        for source, r in results.items():
            rows.append([name, source, *(f"{x:.3f}" for x in (r.precision, r.recall, r.f1)), f"{r.milliseconds:.2f}"])
        f1 = sum(r.f1 for r in results.values()) / len(results)
        milliseconds = sum(r.milliseconds for r in results.values()) / len(results)
        rows.append([f"**{name}**", "macro", "", "", f"{f1:.3f}", f"{milliseconds:.2f}"])
    return markdown_table(["segmenter", "source", "precision", "recall", "F1", "ms a passage"], rows)


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
