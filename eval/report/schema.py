"""Refusing a ``metrics.json`` or ``worst.json`` whose shape a report cannot be made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.eval.metrics import COUNT_CLASSES, RETENTION_LEVELS
from secateur.eval.report.values import finite
from secateur.models.errors import DataError, shown


def _refuse(name: str, value: object, expected: str) -> DataError:
    return DataError(f"{name}: is {shown(value)} and must be {expected}; run the evaluation again to write it anew")


def _mapping(value: object, name: str) -> dict[str, Any]:
    """Return a mapping, an empty one for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refuse(name, value, "an object")
    return value


def _sequence(value: object, name: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise _refuse(name, value, "a list" if length is None else f"a list of {length}")
    return value


def _numbers(value: object, name: str, length: int | None = None, *, nulls: bool = False) -> None:
    for item in _sequence(value, name, length):
        if finite(item) is None and not (nulls and (item is None or isinstance(item, float))):
            raise _refuse(name, value, "a list of numbers")


def _text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise _refuse(name, value, "a text")


def _figures(value: object, name: str) -> None:
    figures = _mapping(value, name)
    for part in ("default", "compression_at_retention", "intervals"):
        _mapping(figures.get(part), f"{name}.{part}")
    if figures.get("curve") is not None:
        _numbers(figures["curve"], f"{name}.curve", len(RETENTION_LEVELS), nulls=True)
    if figures.get("kept_counts") is not None:
        for row in _sequence(figures["kept_counts"], f"{name}.kept_counts", COUNT_CLASSES):
            _numbers(row, f"{name}.kept_counts", COUNT_CLASSES)
    if figures.get("histogram") is not None:
        histogram = _mapping(figures["histogram"], f"{name}.histogram")
        edges = _sequence(histogram.get("edges"), f"{name}.histogram.edges")
        _numbers(edges, f"{name}.histogram.edges")
        for part in ("gold", "other"):
            _numbers(histogram.get(part), f"{name}.histogram.{part}", len(edges) - 1)
    if figures.get("reliability") is not None:
        for i, bin_ in enumerate(_sequence(figures["reliability"], f"{name}.reliability")):
            _mapping(bin_, f"{name}.reliability[{i}]")


def _systems(value: object, name: str) -> dict[str, Any]:
    systems = _mapping(value, name)
    for system, content in systems.items():
        parts = _mapping(content, f"{name}.{system}")
        about = _mapping(parts.get("about"), f"{name}.{system}.about")
        for key, text in about.items():
            if text is not None:
                _text(text, f"{name}.{system}.about.{key}")
        _figures(parts.get("macro"), f"{name}.{system}.macro")
        for source, figures in _mapping(parts.get("sources"), f"{name}.{system}.sources").items():
            _figures(figures, f"{name}.{system}.sources.{source}")
    return systems


def _needle(value: object, name: str) -> None:
    for system, content in _mapping(_mapping(value, name).get("systems"), f"{name}.systems").items():
        parts = _mapping(content, f"{name}.systems.{system}")
        for count, result in _mapping(parts.get("needles"), f"{name}.systems.{system}.needles").items():
            _mapping(result, f"{name}.systems.{system}.needles.{count}")
        if parts.get("grid") is not None:
            where = f"{name}.systems.{system}.grid"
            grid = _mapping(parts["grid"], where)
            _numbers(grid.get("positions"), f"{where}.positions")
            _numbers(grid.get("lengths"), f"{where}.lengths")
            for row in _sequence(grid.get("found"), f"{where}.found", len(grid["lengths"])):
                _numbers(row, f"{where}.found", len(grid["positions"]), nulls=True)


def _robustness(value: object, name: str) -> None:
    parts = _mapping(value, name)
    _mapping(parts.get("about"), f"{name}.about")
    for system, variants in _mapping(parts.get("systems"), f"{name}.systems").items():
        for variant, result in _mapping(variants, f"{name}.systems.{system}").items():
            _mapping(result, f"{name}.systems.{system}.{variant}")


def check_metrics(content: object, where: str) -> Mapping[str, Any]:
    """Return a run's metrics if a report can be made of them.

    Args:
        content: what was read from ``metrics.json``.
        where: the file, for the message.

    Raises:
        DataError: a part is not of the known shape; parts may be absent or null, but for ``systems``.
    """
    metrics = _mapping(content, where)
    if not _systems(metrics.get("systems"), f"{where}: systems"):
        raise DataError(f"{where}: names no systems, so it is not an evaluation's; give the directory of one")
    _mapping(metrics.get("setup"), f"{where}: setup")
    for source, reasons in _mapping(metrics.get("skipped"), f"{where}: skipped").items():
        _mapping(reasons, f"{where}: skipped.{source}")
    comparisons = metrics.get("comparisons")
    for i, row in enumerate(_sequence([] if comparisons is None else comparisons, f"{where}: comparisons")):
        comparison = _mapping(row, f"{where}: comparisons[{i}]")
        for part in ("a", "b", "figure", "scope"):
            _text(comparison.get(part), f"{where}: comparisons[{i}].{part}")
    _needle(metrics.get("needle"), f"{where}: needle")
    _robustness(metrics.get("robustness"), f"{where}: robustness")
    return metrics


def check_worst(content: object, where: str) -> Mapping[str, Any]:
    """Return a run's worst passages if a report can be made of them.

    Args:
        content: what was read from ``worst.json``.
        where: the file, for the message.

    Raises:
        DataError: a part is not of the known shape.
    """
    worst = _mapping(content, where)
    for kind in ("losses", "keeps"):
        for i, row in enumerate(_sequence(worst.get(kind), f"{where}: {kind}")):
            name = f"{where}: {kind}[{i}]"
            passage = _mapping(row, name)
            for j, unit in enumerate(_sequence(passage.get("units"), f"{name}.units")):
                _text(_mapping(unit, f"{name}.units[{j}]").get("text"), f"{name}.units[{j}].text")
    return worst
