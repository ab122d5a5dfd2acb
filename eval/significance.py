"""What changed from one run to another, and whether it is significant.

Each run keeps its resampled figures in ``bootstrap.npz``. They are drawn with the same weights, so two runs on the same
queries are compared by the paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ValidationError

from secateur.eval.bootstrap import FloatArray, PairedDifference, paired_difference
from secateur.eval.quality import Measured
from secateur.eval.report.content import MACRO, Strong, Table, change, decimal, p_value, signed
from secateur.eval.report.markdown import escape_markdown, table_lines
from secateur.labelled.text_files import read_text
from secateur.models.errors import DataError
from secateur.models.files import atomic_path

_FILE = "bootstrap.npz"
_FIGURES = ("area", "mrr", "ndcg@10", "default.retention", "default.compression", "default.f1")
_PREFIX = "compression_at_retention."
_SEPARATOR = "\n"
# A difference between two runs is one between their systems only if the runs share these settings.
_SHARED_SETTINGS = ("data", "limit", "titles", "segmenter")


@dataclass(frozen=True, slots=True)
class ComparisonRow(PairedDifference):
    """A figure of two runs, ``a`` and ``b``, over the queries of a source, or ``macro``, scored by both: b minus a."""

    figure: str
    scope: str
    a: float
    b: float


class _Run(BaseModel):
    """What a comparison needs of ``metrics.json``."""

    fingerprints: dict[str, str]
    setup: dict[str, Any]
    systems: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Side:
    """A system of a run, with its name and float64[1 + resamples] by source and figure."""

    name: str
    run: _Run
    figures: dict[tuple[str, str], FloatArray]


def save_figures(directory: Path, measured: Sequence[Measured]) -> None:
    """Write the resampled figures of all systems of a run."""
    arrays = {
        _SEPARATOR.join((one.system.name, source, name)): figure.astype(np.float32)
        for one in measured
        for source, figures in one.figures.items()
        for name, figure in figures.items()
        if name in _FIGURES or name.startswith(_PREFIX)
    }
    with atomic_path(directory / _FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _read(directory: Path, wanted: str | None) -> _Side:
    try:
        run = _Run.model_validate_json(read_text(directory / "metrics.json"))
        with np.load(directory / _FILE) as arrays:
            figures = {tuple(key.split(_SEPARATOR)): arrays[key].astype(np.float64) for key in arrays.files}
    except (DataError, ValidationError, OSError, ValueError, BadZipFile) as error:
        raise DataError(
            f"{directory}: is not the directory of a finished run ({error}); make one with `secateur eval --out`"
        ) from error
    system = next(iter(run.systems)) if wanted is None else wanted
    if system not in run.systems:
        raise DataError(f"{directory}: has no system {system!r}; it has {', '.join(run.systems)}")
    own = {(source, name): figure for (owner, source, name), figure in figures.items() if owner == system}
    return _Side(f"{directory} ({system})", run, own)


def _compare(one: _Side, two: _Side) -> list[ComparisonRow]:
    ours, theirs = one.run.fingerprints, two.run.fingerprints
    common = [name for name in ours if ours[name] == theirs.get(name)]
    if not common:
        raise DataError(f"{one.name} and {two.name}: measured no source in common (other data, or another limit)")
    rows = []
    for name in dict.fromkeys(name for _, name in one.figures):
        keys = [(source, name) for source in common if (source, name) in one.figures and (source, name) in two.figures]
        pairs = {source: np.array([one.figures[source, name], two.figures[source, name]]) for source, _ in keys}
        if pairs:
            pairs = {MACRO: np.mean(list(pairs.values()), axis=0), **pairs}
        for scope, (a, b) in pairs.items():
            if (found := paired_difference(b, a)) is not None:
                rows.append(ComparisonRow(**asdict(found), figure=name, scope=scope, a=float(a[0]), b=float(b[0])))
    return rows


def paired(a: Path, b: Path) -> list[ComparisonRow]:
    """Compare the first system of the run in a directory with that of the run in another directory.

    Returns:
        For each figure its macro average over the sources in which both systems have it, then those sources.

    Raises:
        DataError: A directory holds no run, or the runs have no source in common.
    """
    return _compare(_read(a, None), _read(b, None))


def _verdict(rows: Sequence[ComparisonRow], a_name: str, b_name: str) -> str:
    """Say in one line which run is better in the first figure, by its macro average."""
    average, *sources = (row for row in rows if row.figure == rows[0].figure)
    says = {"better": "is better than", "worse": "is WORSE than"}
    outcomes = [row.outcome for row in sources]
    better, worse, same = map(outcomes.count, ("better", "worse", "no significant change"))
    return (
        f"{b_name} {says.get(average.outcome, 'does not differ significantly from')} {a_name}: macro {average.figure} "
        f"{change(average)}; of {len(sources)} sources {better} significantly better, {worse} worse, {same} without a "
        "significant change."
    )


def comparison_markdown(
    rows: Sequence[ComparisonRow], *, a_name: str = "A", b_name: str = "B", warnings: Sequence[str] = ()
) -> str:
    """Return the rows of `paired` as Markdown; the warnings are reasons why the runs may not be comparable."""
    if not rows:
        return "The runs have no figure in common: nothing can be compared.\n"
    blocks = [f"**{escape_markdown(_verdict(rows, a_name, b_name))}**"]
    if warnings:
        blocks.append("The runs have other settings, so their figures may not be comparable:")
        blocks.append("\n".join(f"- {escape_markdown(text)}" for text in warnings))
    header = ["scope", a_name, b_name, "difference", "95% interval", "p", f"{b_name} is"]
    for figure in dict.fromkeys(row.figure for row in rows):
        average, *sources = (row for row in rows if row.figure == figure)
        cells = []
        for row in (average, *sorted(sources, key=lambda row: (-row.difference, row.scope))):
            scope = Strong(row.scope) if row is average else row.scope
            outcome = Strong(row.outcome) if row.significant else row.outcome
            ends = f"[{signed(row.low)}, {signed(row.high)}]"
            cells.append([scope, decimal(row.a), decimal(row.b), signed(row.difference), ends, p_value(row.p), outcome])
        blocks += [f"## {escape_markdown(figure)}", table_lines(Table("", header, cells))]
    blocks.append("Significant means that the interval of the difference excludes zero.")
    return "\n\n".join(blocks) + "\n"


def compare_runs(a: Path, b: Path, system_a: str | None, system_b: str | None) -> str:
    """Return the comparison of a system of each of two runs, by default its first, as Markdown; see `paired`."""
    first, second = _read(a, system_a), _read(b, system_b)
    one, two = first.run.setup, second.run.setup
    warnings = [
        f"{name}: {one.get(name)!r} in the first run, {two.get(name)!r} in the second"
        for name in _SHARED_SETTINGS
        if one.get(name) != two.get(name)
    ]
    return comparison_markdown(_compare(first, second), a_name=first.name, b_name=second.name, warnings=warnings)
