"""Comparing two runs: each keeps its resampled figures, drawn by the same weights, in ``bootstrap.npz``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from secateur.eval.bootstrap import FloatArray, difference
from secateur.eval.quality import Measured
from secateur.eval.report.compare import ComparisonRow, comparison_markdown, setup_differences
from secateur.eval.units import Source
from secateur.labelled.text_files import parse_json, read_text
from secateur.models.errors import DataError

FILE = "bootstrap.npz"
_FIGURES = ("area", "mrr", "ndcg@10", "default.retention", "default.compression", "default.f1")
_PREFIX = "compression_at_retention."
_SEPARATOR = "\n"


def _kept(name: str) -> bool:
    return name in _FIGURES or name.startswith(_PREFIX)


def save_figures(path: Path, measured: Sequence[Measured]) -> None:
    """Write the resampled figures of all systems."""
    arrays = {
        _SEPARATOR.join((one.system.name, source, name)): figure.astype(np.float32)
        for one in measured
        for source, figures in one.figures.items()
        for name, figure in figures.items()
        if _kept(name)
    }
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def data_fingerprints(sources: Sequence[Source]) -> dict[str, str]:
    """Return a digest of each source, by which two runs know that they measured the same queries."""
    return {source.name: source.fingerprint()[:16] for source in sources}


@dataclass(frozen=True, slots=True)
class _Run:
    metrics: dict[str, Any]
    figures: dict[tuple[str, str, str], FloatArray]


def _read(directory: Path) -> _Run:
    try:
        metrics = parse_json(read_text(directory / "metrics.json"))
        with np.load(directory / FILE) as arrays:
            figures = {tuple(key.split(_SEPARATOR)): arrays[key].astype(np.float64) for key in arrays.files}
        if not isinstance(metrics["fingerprints"], dict):
            raise TypeError("fingerprints is no object")
    except (DataError, OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise DataError(
            f"{directory}: is not the directory of a finished run ({error}); make one by `secateur eval --out`"
        ) from error
    return _Run(metrics, figures)


def _system(run: _Run, directory: Path, wanted: str | None) -> str:
    names = list(run.metrics["systems"])
    if wanted is None:
        return str(names[0])
    if wanted not in names:
        raise DataError(f"{directory}: holds no system {wanted!r}; it has {', '.join(names)}")
    return wanted


def _row(figure: str, scope: str, a: FloatArray, b: FloatArray) -> ComparisonRow | None:
    found = difference(b, a)
    if found is None:
        return None
    return ComparisonRow(figure, scope, float(a[0]), float(b[0]), found.difference, found.low, found.high, found.p)


def _macro(figures: Mapping[str, FloatArray]) -> FloatArray:
    mean: FloatArray = np.mean(list(figures.values()), axis=0)
    return mean


def paired(a: Path, b: Path, system_a: str | None = None, system_b: str | None = None) -> list[ComparisonRow]:
    """Compare a system of one run with a system of another, on the sources that both measured.

    Args:
        a: directory of the first run.
        b: directory of the second.
        system_a: of the first run; None for its first.
        system_b: of the second run; None for its first.

    Returns:
        For each figure the macro average over common sources, then the sources. The macro of a figure is over the
        sources in which both systems have it.

    Raises:
        DataError: a directory holds no run, or the runs have no source in common.
    """
    runs = _read(a), _read(b)
    systems = _system(runs[0], a, system_a), _system(runs[1], b, system_b)
    marks = [run.metrics["fingerprints"] for run in runs]
    common = [name for name in marks[0] if marks[0][name] == marks[1].get(name)]
    if not common:
        raise DataError(f"{a} and {b}: measured no source in common (other data, or another limit); nothing to compare")
    rows: list[ComparisonRow | None] = []
    names = dict.fromkeys(name for system, _, name in runs[0].figures if system == systems[0])
    for name in names:
        pairs = {}
        for source in common:
            one, two = runs[0].figures.get((systems[0], source, name)), runs[1].figures.get((systems[1], source, name))
            if one is not None and two is not None and one.shape == two.shape:
                pairs[source] = (one, two)
        if pairs:
            rows.append(
                _row(
                    name,
                    "macro",
                    _macro({s: p[0] for s, p in pairs.items()}),
                    _macro({s: p[1] for s, p in pairs.items()}),
                )
            )
            rows += [_row(name, source, *pair) for source, pair in pairs.items()]
    return [row for row in rows if row is not None]


def compare_runs(a: Path, b: Path, system_a: str | None = None, system_b: str | None = None) -> str:
    """Return the comparison as Markdown; see `paired`."""
    rows = paired(a, b, system_a, system_b)
    first, second = _read(a).metrics, _read(b).metrics
    names = [
        f"{path} ({wanted or next(iter(m['systems']))})"
        for path, wanted, m in ((a, system_a, first), (b, system_b, second))
    ]
    return comparison_markdown(rows, a_name=names[0], b_name=names[1], warnings=setup_differences(first, second))
