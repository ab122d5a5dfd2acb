"""The report of a run as one HTML page that loads nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.eval.report.content import Json, Strong, decimal
from secateur.eval.report.markdown import report_title
from secateur.eval.report.plots import SCHEME, report_plots
from secateur.eval.report.sections import report_sections
from secateur.models.errors import MissingExtraError

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_OUTCOMES = {
    (True, True): ("hit", "answers, kept"),
    (True, False): ("lost", "answers, dropped"),
    (False, True): ("extra", "does not answer, kept"),
    (False, False): ("dropped", "does not answer, dropped"),
}
"""CSS class and label of a unit by whether it answers and whether it was kept."""
_WORST = (
    ("losses", "Worst losses", "An answering unit was dropped."),
    ("keeps", "Worst keeps", "Units that do not answer were kept with the highest scores."),
)


def _code_spans(text: str) -> Markup:
    """Return escaped HTML of plain text, with ``code`` where the text has backticks."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _cell(text: str) -> Markup:
    from markupsafe import Markup, escape

    escaped = escape(str(text))
    return Markup("<strong>{}</strong>").format(escaped) if isinstance(text, Strong) else escaped


def render_html(metrics: Json, worst: Json | None = None) -> str:
    """Return the report of a run as one page, given its ``metrics.json`` and, if it has one, its ``worst.json``.

    Raises:
        MissingExtraError: Jinja or Matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "eval") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"code_spans": _code_spans, "cell": _cell, "decimal": decimal}
    worst = worst or {}
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=report_title(metrics),
        version=metrics["secateur"],
        sections=list(report_sections(metrics)),
        plots=list(report_plots(metrics)),
        worst=[(f"worst-{kind}", title, lead, worst[kind]) for kind, title, lead in _WORST if worst.get(kind)],
        worst_system=worst.get("system"),
        outcomes=_OUTCOMES,
        colours=SCHEME,
    )
