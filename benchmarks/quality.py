"""Pruning quality of published checkpoints that the wheel has no system for, against ours and the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants.llmlingua import LlmLingua2
from benchmarks.tables import BenchTable
from secateur.eval.report.sections import systems_table
from secateur.eval.run import RunOptions, evaluate
from secateur.eval.systems.registry import CHECKPOINTS


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """What is compared.

    Attributes:
        system: Systems of `secateur eval`, or ``llmlingua-2:DIR``; the first is compared with the others.
        limit: Number of queries drawn from each source; all by default.
    """

    system: tuple[str, ...] = ("secateur",)
    limit: int | None = None


def measure_quality(data: Path, options: QualityOptions) -> BenchTable:
    """Measure systems with `secateur eval`, LLMLingua-2 among them."""
    CHECKPOINTS["llmlingua-2"] = lambda directory: LlmLingua2(Path(directory))
    table = systems_table(evaluate(data, options=RunOptions(options.system, options.limit)))
    return BenchTable(table.header, table.rows, f"{table.caption}.")
