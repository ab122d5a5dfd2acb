"""One evaluation run: systems on labelled data, the needle test and the robustness test, written to a directory.

The directory holds ``metrics.json``, ``worst.json``, ``report.md``, ``report.html``, ``retention.svg``,
``bootstrap.npz``, with which two runs are compared, and ``scores/``, from which a killed run resumes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from secateur.eval.bootstrap import RESAMPLES
from secateur.eval.lines import line_baselines
from secateur.eval.loaders import as_paths, group_of, measurable_sources
from secateur.eval.needle import needle_test
from secateur.eval.quality import measure, sources_by_group
from secateur.eval.report.html import render_html
from secateur.eval.report.markdown import render_markdown
from secateur.eval.report.plots import retention_plot
from secateur.eval.robustness import robustness_test
from secateur.eval.significance import save_figures
from secateur.eval.structure import structure_summary
from secateur.eval.summary import compare, system_summary, worst_cases
from secateur.eval.systems.registry import load_system
from secateur.eval.units import PROSE, SourceBuilder
from secateur.labelled.hardware import machine
from secateur.models.errors import InputError
from secateur.models.files import write_atomically


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run measures: systems as ``NAME`` or ``NAME:MODEL_DIR``, of which the first is compared with the others.

    At most ``limit`` queries are drawn from each source, always the same ones. Titles are shown as in a service.
    """

    systems: tuple[str, ...] = ("secateur",)
    limit: int | None = None
    titles: bool = True
    needle: bool = False
    robustness: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError("limit", f"{self.limit} is less than 1", "give at least 1, or leave it out for all")
        names = [spec.partition(":")[0] for spec in self.systems]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise InputError("system", f"{twice[0]!r} is named twice" if twice else "none is named", "name each once")


def _shown(path: Path) -> str:
    group = group_of(path)
    return path.resolve().name if group == PROSE else f"{group}/{path.resolve().name}"


def evaluate(data: Path | Sequence[Path], out: Path | None = None, options: RunOptions | None = None) -> dict[str, Any]:
    """Measure systems on labelled examples, see `labelled_sources`, and return the content of ``metrics.json``.

    Metrics, report and scores are written to ``out``; nothing is without it. Sources in a directory `docs`, `lines` or
    `ml` are a group that is averaged apart from the others, which are `prose`.

    Raises:
        DataError: The data cannot be measured.
        InputError: A system or an option is unknown.
        ModelError: A model cannot be loaded.
    """
    options = options or RunOptions()
    builder = SourceBuilder(titles=options.titles)
    sources, skipped = measurable_sources(data, builder, options.limit)
    systems = [load_system(spec) for spec in options.systems]
    measured = [measure(system, sources, out and out / "scores") for system in systems]
    metrics: dict[str, Any] = {
        "secateur": version("secateur"),
        "setup": {
            "data": ", ".join(map(_shown, as_paths(data))),
            "limit": options.limit,
            "titles": options.titles,
            "segmenter": builder.segmenter,
            "resamples": RESAMPLES,
            "machine": machine(),
        },
        # By these two runs are known to have measured the same queries.
        "fingerprints": {source.name: source.fingerprint()[:16] for source in sources},
        "skipped": skipped,
        "systems": {one.system.name: system_summary(sources, one) for one in measured},
        "groups": sources_by_group(sources),
        "comparisons": [row for other in measured[1:] for row in compare(measured[0], other)],
        "line_baselines": line_baselines(sources, out and out / "scores"),
        "structure": {one.system.name: structure_summary(one, sources) for one in measured[:1]},
        "needle": needle_test(systems, sources, builder, out and out / "needle") if options.needle else None,
        "robustness": None,
    }
    if options.robustness:
        metrics["robustness"] = robustness_test(systems[0], sources, builder, out and out / "robustness")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_figures(out, measured)
        worst = None
        for one in measured:
            # The first system that decides by a threshold and can lose an answer.
            if worst is None and one.system.threshold is not None and one.system.name != "full":
                worst = worst_cases(sources, one, one.system.threshold)
        files = {"report.md": render_markdown(metrics), "report.html": render_html(metrics, worst)}
        for name, content in (("metrics.json", metrics), ("worst.json", worst)):
            if content is not None:
                files[name] = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, text in (files | {"retention.svg": retention_plot(metrics)}).items():
            write_atomically(out / name, text)
    return metrics
