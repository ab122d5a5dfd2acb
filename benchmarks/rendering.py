"""Whether what is kept of Markdown and HTML pages renders: no torn table, list or heading, open fence or tag."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.defects import html_defects, markdown_defects
from benchmarks.tables import ABSENT, BenchTable
from benchmarks.texts import read_texts
from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.segmentation import segment
from secateur.models.selection import SelectablePassage, passage_result, select
from secateur.models.types import Passage, PassageResult

PAGES = 200
SHARES = (0.02, 0.1, 0.3, 0.7)
SEEDS = 3
LONGEST = 20_000  # characters of a page that the model reads
MARKER = "[… {lines} lines omitted]"
_CHECKS = {"markdown": markdown_defects, "html": html_defects}
_PARTS = {
    "markdown": (r"(?m)^[ >]*\|", r"(?m)^[ \t>]*(?:[-*+]|\d+[.)])\s", r"(?m)^#{1,6}\s", r"(?m)^[ \t>]*(?:```|~~~)\w"),
    "html": (r"(?i)<tr\b", r"(?i)<li\b", r"(?i)<h[1-6]\b", r"(?i)<pre\b"),
}


@dataclass(slots=True)
class Tally:
    """What was kept of pages, and what of it does not render.

    Attributes:
        texts: Number of kept texts that are not empty.
        parts: Number of table rows, list items, headings and code blocks in them.
        defects: Number of defects of each kind.
    """

    texts: int = 0
    parts: list[int] = field(default_factory=lambda: [0] * 4)
    defects: Counter[str] = field(default_factory=Counter)

    def add(self, format: str, source: str, result: PassageResult) -> None:
        """Check what is kept of a page."""
        self.texts += not result.empty
        self.parts = [
            count + len(re.findall(part, result.text)) for count, part in zip(self.parts, _PARTS[format], strict=True)
        ]
        self.defects += _CHECKS[format](source, result.text, result.spans)

    def row(self, format: str, scores: str, pages: int) -> list[str]:
        """Return the cells of the table."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in self.defects.most_common())
        cells = [pages, self.texts, *self.parts, self.defects.total()]
        return [format, scores, *(f"{cell:,}" for cell in cells), kinds or ABSENT]


def kept_at_random(page: Passage, gap_marker: str | None) -> Iterator[PassageResult]:
    """Yield what is kept of a page for random scores, at several shares of kept units."""
    units = segment(page)
    options = PruneOptions(gap_marker=gap_marker, gap_marker_ends=gap_marker is not None)
    for share in SHARES:
        for seed in range(SEEDS):
            scores = np.random.default_rng(seed).random(len(units))
            tokens = np.ones(len(units), dtype=np.int32)
            one = SelectablePassage(0, page, units, tokens, PassageScores(0.0, scores), page.format)
            yield passage_result(select([one], options, 1 - share)[0], options)


def _query(page: Passage) -> str:
    """Return a heading of the page, or its first sentence."""
    units = [unit for unit in segment(page) if unit.kind != "markup"]
    chosen = [unit for unit in units if unit.kind == "heading"] or units[:1]
    unit = random.Random(len(page.text)).choice(chosen)
    return re.sub(r"<[^>]*>|[#\s]+", " ", page.text[unit.start : unit.end]).strip() or "What is this?"


def kept_by_model(pruner: Pruner, page: Passage) -> Iterator[PassageResult]:
    """Yield what the model keeps of a page for a query made of one of its headings."""
    yield pruner.prune(_query(page), [page], truncate_query=True).results[0]


def measure_rendering(texts: Path) -> BenchTable:
    """Check what is kept of pages by random scores and by the model's.

    Args:
        texts: Folder of texts; see `benchmarks.texts`.

    Raises:
        DataError: A kind of text is missing.
    """
    pruner = Pruner.load(device="cpu")
    ways: dict[str, tuple[Callable[[Passage], Iterator[PassageResult]], int | None]] = {
        "random": (partial(kept_at_random, gap_marker=None), None),
        "random, with gap markers": (partial(kept_at_random, gap_marker=MARKER), None),
        "the model's": (partial(kept_by_model, pruner), LONGEST),
    }
    rows = []
    for format in _CHECKS:
        for scores, (keep, longest) in ways.items():
            pages = [Passage(text, format=format) for text in read_texts(texts, format, longest)[:PAGES]]
            tally = Tally()
            for page in pages:
                for result in keep(page):
                    tally.add(format, page.text, result)
            rows.append(tally.row(format, scores, len(pages)))
    header = ["pages", "scores", "number", "kept texts", "table rows", "list items", "headings", "code blocks"]
    note = (
        f"Random scores keep {', '.join(f'{share:.0%}' for share in SHARES)} of the units, {SEEDS} times each, with "
        "what these need. The model's are for one of the page's headings, on pages of up to "
        f"{LONGEST:,} characters. A defect of Markdown is a line that is another kind of block than in the page, or an "
        "open fence; one of HTML a tag that is not balanced, or an element outside of its table or list. Defects of "
        "the page itself do not count."
    )
    return BenchTable([*header, "defects", "kinds"], rows, note)
