"""Benchmark results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.labelled.markdown_blocks import markdown_table, rewrite_block
from secateur.labelled.hardware import machine


@dataclass(frozen=True, slots=True)
class BenchTable:
    """A benchmark's outcome: a table and what was measured."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


def write_bench(block: str, table: BenchTable, update: Path | None) -> str:
    """Return the table with the machine described, and put it into that marked block of ``update``."""
    text = f"{markdown_table(table.header, table.rows)}\n\n{table.note} Machine: {machine()}."
    if update is not None:
        rewrite_block(update, block, text)
    return text
