"""One evaluation run: systems on labelled data, the needle test and the robustness set, written to a directory.

The directory holds ``metrics.json``, ``worst.json``, ``report.md``, ``report.html``, ``bootstrap.npz``, by which two
runs are compared, and ``scores/``, from which a killed run goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from secateur.eval.bootstrap import RESAMPLES
from secateur.eval.needle import needle_test
from secateur.eval.quality import Measured, measure, read_sources, source_builder
from secateur.eval.report import write_report
from secateur.eval.robustness import robustness_test
from secateur.eval.significance import FILE as BOOTSTRAP
from secateur.eval.significance import data_fingerprints, save_figures
from secateur.eval.summary import compare, system_summary, worst_cases
from secateur.eval.systems.registry import load_system
from secateur.labelled.hardware import machine
from secateur.models.checkpoint import read_config, resolve
from secateur.models.errors import InputError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

SCORES = "scores"
METRICS = "metrics.json"
WORST = "worst.json"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run measures.

    Attributes:
        systems: ``NAME`` or ``NAME:MODEL_DIR``; the first is compared with the others.
        limit: queries drawn from each source, always the same ones; None for all.
        titles: show the passages' titles to the systems, as a service does.
        needle: run the needle test.
        robustness: run the robustness set.
    """

    systems: tuple[str, ...] = ("secateur",)
    limit: int | None = None
    titles: bool = True
    needle: bool = False
    robustness: bool = False

    def check(self) -> None:
        """Raise InputError for options that cannot be used."""
        if self.limit is not None and self.limit < 1:
            raise InputError("limit", f"{self.limit} queries a source", "give at least 1, or leave it out for all")
        names = [spec.partition(":")[0] for spec in self.systems]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise InputError("system", f"{twice[0]!r} is named twice" if twice else "none is named", "name each once")


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _worst_of(measured: Sequence[Measured]) -> Measured | None:
    """Return the first system that chooses by a threshold and can lose an answer."""
    return next((one for one in measured if one.system.threshold is not None and one.system.name != "full"), None)


def evaluate(data: Path, out: Path | None = None, options: RunOptions | None = None) -> dict[str, Any]:
    """Measure systems on labelled examples.

    Args:
        data: see `secateur.eval.loaders.load_sources`.
        out: directory for metrics, report and scores; None to write nothing.
        options: what to measure.

    Returns:
        The content of ``metrics.json``.

    Raises:
        DataError: the data cannot be measured.
        InputError: an unknown system or option.
        ModelError: a model cannot be loaded.
    """
    options = options or RunOptions()
    options.check()
    sources, skipped = read_sources(data, limit=options.limit, titles=options.titles)
    systems = [load_system(spec) for spec in options.systems]
    scores = out / SCORES if out else None
    measured = [measure(system, sources, scores) for system in systems]
    builder = source_builder(titles=options.titles)
    metrics: dict[str, Any] = {
        "secateur": version("secateur"),
        "setup": {
            "data": data.resolve().name,
            "limit": options.limit,
            "titles": options.titles,
            "segmenter": read_config(resolve(None)).segmenter,
            "resamples": RESAMPLES,
            "machine": machine(),
        },
        "fingerprints": data_fingerprints(sources),
        "skipped": skipped,
        "systems": {one.system.name: system_summary(sources, one) for one in measured},
        "comparisons": [row for other in measured[1:] for row in compare(measured[0], other)],
        "needle": needle_test(systems, sources, builder, out / "needle" if out else None) if options.needle else None,
        "robustness": None,
    }
    if options.robustness:
        metrics["robustness"] = robustness_test(systems[:1], sources, builder, out / "robustness" if out else None)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_figures(out / BOOTSTRAP, measured)
        _write(out / METRICS, metrics)
        worst = _worst_of(measured)
        if worst is not None:
            _write(out / WORST, worst_cases(sources, worst))
        write_report(out)
    return metrics
