"""A run's files: its metrics and worst passages read, its reports written."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.eval.report.html import render_html
from secateur.eval.report.markdown import render_markdown
from secateur.eval.report.schema import check_metrics, check_worst
from secateur.labelled.text_files import parse_json, read_text
from secateur.models.errors import DataError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)


def _read(path: Path) -> object:
    try:
        if not path.exists():
            raise DataError(f"{path}: does not exist; give a directory that an evaluation was written to")
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); run the evaluation again to write it anew") from error


def read_metrics(out: Path) -> Mapping[str, Any]:
    """Return the checked ``metrics.json`` of a run's directory.

    Raises:
        DataError: it is missing, no JSON or of an unknown shape.
    """
    return check_metrics(_read(out / "metrics.json"), str(out / "metrics.json"))


def read_worst(out: Path) -> Mapping[str, Any] | None:
    """Return the checked ``worst.json`` of a run's directory, None where there is none.

    Raises:
        DataError: it is no JSON or of an unknown shape.
    """
    path = out / "worst.json"
    return check_worst(_read(path), str(path)) if path.exists() else None


def write_report(out: Path) -> None:
    """Write ``report.md`` and ``report.html`` from the ``metrics.json`` and ``worst.json`` of a run.

    Args:
        out: the run's directory; ``worst.json`` may be missing in it.

    Raises:
        DataError: a file is missing, no JSON or of an unknown shape.
        MissingExtraError: Jinja or Matplotlib is not installed.
    """
    metrics, worst = read_metrics(out), read_worst(out)
    reports = {"report.md": render_markdown(metrics), "report.html": render_html(metrics, worst)}
    for name, text in reports.items():
        write_atomically(out / name, text)
    log.info("wrote %s", ", ".join(str(out / name) for name in reports))
