"""The report of a run as one HTML page that loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

from secateur.eval.report.content import Json, Strong, decimal, first_system
from secateur.eval.report.markdown import report_title
from secateur.eval.report.plots import SCHEME, report_plots
from secateur.eval.report.sections import report_sections
from secateur.models.errors import MissingExtraError

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render_html(metrics: Json, worst: Json | None = None) -> str:
    """Return the report of a run as one page, given its ``metrics.json`` and, if it has one, its ``worst.json``.

    Raises:
        MissingExtraError: Jinja or Matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup, escape
    except ImportError as error:
        raise MissingExtraError("jinja2", "eval") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "cell": lambda text: Markup("<strong>{}</strong>").format(str(text)) if isinstance(text, Strong) else str(text),
        "code_spans": lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))),
        "decimal": decimal,
    }
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=report_title(metrics),
        first=first_system(metrics),
        version=metrics["secateur"],
        sections=list(report_sections(metrics)),
        plots=report_plots(metrics),
        worst=worst or {},
        colours=SCHEME,
    )
