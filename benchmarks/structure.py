"""Time of segmentation beside the network's time for the same text, for each format."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from pathlib import Path

from benchmarks.tables import BenchTable, ratio_cells
from benchmarks.texts import FORMATS, read_texts
from benchmarks.workload import interleave
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.segmentation import segment
from secateur.models.types import Passage

CHARACTERS = 60_000
LONGEST = 20_000
ROUNDS = 5
QUERY = "How is it installed, and what does it need?"


def _segment(passages: list[Passage]) -> int:
    return sum(len(segment(passage)) for passage in passages)


def _row(pruner: Pruner, kind: str, texts: list[str]) -> list[str]:
    count = sum(total - len(text) < CHARACTERS for text, total in zip(texts, accumulate(map(len, texts)), strict=True))
    texts = texts[:count]
    given, detected = ([Passage(text, format=name) for text in texts] for name in (FORMATS[kind], "auto"))
    encoded = pruner.encode(check_request(QUERY, given, PruneOptions()))
    windows = [window for passage in encoded.passages for window in passage.running]
    own, auto, network = interleave(
        {
            "segmentation": partial(_segment, given),
            "auto": partial(_segment, detected),
            "network": partial(pruner.run, windows),
        },
        ROUNDS,
    )
    size = sum(len(text.encode()) for text in texts) / 1e6
    median, range_ = ratio_cells(auto, network, digits=4)
    return [
        kind,
        FORMATS[kind],
        str(count),
        f"{size * 1e3:.0f} kB",
        f"{_segment(given):,}",
        f"{own.median / size:.2f} s",
        f"{auto.median / size:.2f} s",
        f"{network.median / size:.1f} s",
        f"{float(median):.1%}",
        " to ".join(f"{float(end):.1%}" for end in range_.split(" to ")),
    ]


def measure_structure(texts: Path) -> BenchTable:
    """Time `segment` and the network on the same texts, in turn, with one thread each.

    Args:
        texts: Folder of texts; see `benchmarks.texts`.

    Raises:
        DataError: A kind of text is missing.
    """
    pruner = Pruner.load(device="cpu", threads=1)
    rows = [_row(pruner, kind, read_texts(texts, kind, LONGEST)) for kind in FORMATS]
    header = [
        "texts",
        "format",
        "number",
        "size",
        "units",
        "segmentation of 1 MB",
        "by `auto`",
        "network for 1 MB",
        "`auto` / network",
        "range",
    ]
    note = (
        f"Real texts of up to {LONGEST:,} characters, about {CHARACTERS:,} of each kind; one thread each, median of "
        f"{ROUNDS} rounds in turn. The network reads no markup, so it takes less time for a MB of HTML."
        f" Network: {pruner.config.name} ({pruner.backend.about})."
    )
    return BenchTable(header, rows, note)
