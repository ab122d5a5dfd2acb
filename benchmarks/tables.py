"""Benchmark results as Markdown tables, and the rules for the numbers in them.

A percentile other than the median is shown for 20 calls or more; a range for two or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.workload import Timing
from secateur.labelled.hardware import machine
from secateur.labelled.markdown_blocks import markdown_table, rewrite_block
from secateur.models.errors import InputError

ABSENT = "–"
ENOUGH_CALLS = 20


@dataclass(frozen=True, slots=True)
class BenchTable:
    """The outcome of a benchmark: a table, and a note on what was measured."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


def write_bench(block: str, table: BenchTable, update: Path | None) -> str:
    """Return the table with a description of the machine, and put it into a marked block of the file ``update``."""
    text = f"{markdown_table(table.header, table.rows)}\n\n{table.note} Machine: {machine()}."
    if update is not None:
        rewrite_block(update, block, text)
    return text


def median_ms(seconds: Sequence[float]) -> str:
    """Return the median latency."""
    return shown_ms(float(np.median(np.asarray(seconds))) * 1e3)


def percentile_ms(seconds: Sequence[float], percent: float) -> str:
    """Return a percentile in [0, 100] of latencies; a dash where there are too few calls for one."""
    if len(seconds) < ENOUGH_CALLS:
        return ABSENT
    return shown_ms(float(np.percentile(np.asarray(seconds), percent)) * 1e3)


def ratio_cells(a: Timing, b: Timing, digits: int = 2) -> list[str]:
    """Return the median and the range of a's seconds over b's, round by round; no range for a single round."""
    ratios = [x / y for x, y in zip(a.seconds, b.seconds, strict=True)]
    range_ = f"{min(ratios):.{digits}f} to {max(ratios):.{digits}f}" if len(ratios) > 1 else ABSENT
    return [f"{np.median(ratios):.{digits}f}", range_]


def shown_ms(milliseconds: float) -> str:
    """Return a latency with three digits."""
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"


def shown_rate(per_second: float) -> str:
    """Return a rate with three digits."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}"


def shown_mb(size: float) -> str:
    """Return bytes in MB."""
    return f"{size / 1e6:,.0f} MB"


def check_positive(options: object, *names: str) -> None:
    """Check that options, or all numbers of options that are lists, are above 0.

    Raises:
        InputError: One is not; it names the option.
    """
    for name in names:
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or min(numbers) <= 0:
            raise InputError(f"--{name.replace('_', '-')}", f"{value} is not positive", "give numbers above 0")
