"""The report of a run as one HTML page that loads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.eval.report.canvas import SCHEME
from secateur.eval.report.content import decimal
from secateur.eval.report.markdown import report_title, sections
from secateur.eval.report.plots import all_plots
from secateur.eval.report.values import Json, finite
from secateur.models.errors import MissingExtraError

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True, slots=True)
class UnitView:
    """One unit of a passage that went wrong.

    Attributes:
        text: as it stands in the passage.
        score: as text.
        outcome: CSS class, one of ``hit``, ``lost``, ``extra``, ``dropped``.
        label: the outcome in words.
    """

    text: str
    score: str
    outcome: str
    label: str


@dataclass(frozen=True, slots=True)
class PassageView:
    """A passage that went wrong.

    Attributes:
        source: its source.
        query: the query.
        passage_id: its identifier in the source.
        score: the passage's relevance score, as text.
        threshold: the threshold, as text.
        units: its units.
    """

    source: str
    query: str
    passage_id: str
    score: str
    threshold: str
    units: tuple[UnitView, ...]


@dataclass(frozen=True, slots=True)
class WorstView:
    """A list of passages that went wrong.

    Attributes:
        key: anchor.
        title: heading.
        lead: what the passages are.
        passages: the worst first.
    """

    key: str
    title: str
    lead: str
    passages: tuple[PassageView, ...]


_OUTCOMES = {
    (True, True): ("hit", "answers, kept"),
    (True, False): ("lost", "answers, dropped"),
    (False, True): ("extra", "does not answer, kept"),
    (False, False): ("dropped", "does not answer, dropped"),
}
_WORST = (
    ("losses", "Worst losses", "An answering sentence was dropped."),
    ("keeps", "Worst keeps", "The sentences that do not answer and were kept with the highest scores."),
)


def _passage(row: Mapping[str, Any]) -> PassageView:
    units = []
    for unit in row["units"]:
        outcome, label = _OUTCOMES[bool(unit.get("gold")), bool(unit.get("kept"))]
        units.append(UnitView(unit["text"], decimal(finite(unit.get("score")), 2), outcome, label))
    return PassageView(
        source=str(row.get("source") or ""),
        query=str(row.get("query") or ""),
        passage_id=str(row.get("passage_id") or ""),
        score=decimal(finite(row.get("score"))),
        threshold=decimal(finite(row.get("threshold"))),
        units=tuple(units),
    )


def worst_views(worst: Json) -> list[WorstView]:
    """Return the passages of ``worst.json`` for display, without empty lists."""
    return [
        WorstView(f"worst-{kind}", title, lead, tuple(_passage(row) for row in worst[kind]))
        for kind, title, lead in _WORST
        if worst[kind]
    ]


def code_spans(text: str) -> Markup:
    """Return escaped HTML of plain text, with ``code`` where it has backticks."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def render_html(metrics: Json, worst: Json | None = None) -> str:
    """Return a run's report as one self-contained page.

    Args:
        metrics: the content of the run's ``metrics.json``; `check_metrics` says whether it can be used.
        worst: the content of its ``worst.json``; `check_worst` says whether it can be used. None where there is none.

    Raises:
        MissingExtraError: Jinja or Matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtraError("jinja2", "eval") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code_spans"] = code_spans
    plots: dict[str, list[dict[str, Any]]] = {}
    for plot in all_plots(metrics):
        shown = {"key": plot.key, "title": plot.title, "caption": plot.caption, "svg": Markup(plot.svg)}
        plots.setdefault(plot.section, []).append(shown)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=report_title(metrics),
        version=metrics.get("secateur"),
        sections=sections(metrics),
        plots=plots,
        worst=worst_views(worst) if worst else [],
        worst_system=str((worst or {}).get("system") or ""),
        colours=SCHEME,
    )
