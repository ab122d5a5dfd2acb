"""Plots of quality: retention-compression curves, area by source, and all plots of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secateur.eval.metrics import RETENTION_LEVELS
from secateur.eval.report.canvas import INK, legend_above, panel_title, panels, series_style, to_svg
from secateur.eval.report.diagrams import kept_counts, needle_maps, reliability_diagram, score_histograms
from secateur.eval.report.values import Json, first_system, interval, lookup, macro, number, source, source_names
from secateur.eval.units import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 9.0
_COLUMNS = 4
_RETENTION = "retention (share of relevant passages kept whole)"
_COMPRESSION = "compression (share of characters dropped)"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot for the report.

    Attributes:
        key: unique in the report.
        section: key of the section that it belongs to.
        title: heading.
        caption: how to read it.
        svg: an SVG element.
    """

    key: str
    section: str
    title: str
    caption: str
    svg: str


def _curve(figures: Json) -> FloatArray | None:
    """Return float64[51], best compression at each of `RETENTION_LEVELS`; None where there is no curve."""
    values = lookup(figures, "curve")
    if values is None:
        return None
    curve = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return None if np.isnan(curve).all() else curve


def _draw_curves(axes: Axes, curves: dict[int, FloatArray], *, markers: bool) -> None:
    """Draw each system's curve; the first system's lies on top."""
    for index, curve in curves.items():
        style = series_style(index)
        axes.plot(
            RETENTION_LEVELS,
            curve,
            color=style.colour,
            linestyle=style.dash,
            linewidth=style.width,
            marker=style.marker if markers else None,
            markersize=4,
            markevery=(index % 5, 10),
            zorder=3 if index == 0 else 2,
        )
    axes.set_xlim(0.495, 1.005)
    axes.set_ylim(-0.02, 1.0)


def _series_legend(figure: Figure, names: list[str], used: set[int], *, markers: bool) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for index in sorted(used):
        style = series_style(index)
        marker = style.marker if markers else None
        handles.append(
            Line2D([], [], color=style.colour, linestyle=style.dash, linewidth=style.width, marker=marker, markersize=4)
        )
    legend_above(figure, handles, [names[index] for index in sorted(used)])


def _system_curves(metrics: Json, name: str | None) -> dict[int, FloatArray]:
    """Return the systems' curves on a source, or macro-averaged for None, by the systems' position."""
    curves = {}
    for index, system in enumerate(metrics["systems"]):
        curve = _curve(macro(metrics, system) if name is None else source(metrics, system, name))
        if curve is not None:
            curves[index] = curve
    return curves


def macro_curves(metrics: Json) -> str | None:
    """Return the systems' macro-averaged retention-compression curves as SVG; None where there are none."""
    curves = _system_curves(metrics, None)
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _draw_curves(axes, curves, markers=True)
        axes.set_xlabel(_RETENTION)
        axes.set_ylabel(_COMPRESSION)
        _series_legend(figure, list(metrics["systems"]), set(curves), markers=True)

    return to_svg("macro-curves", "Retention-compression curves of all systems", (_WIDTH, 4.6), draw)


def source_curves(metrics: Json) -> str | None:
    """Return the retention-compression curves of each source as SVG; None where there are none."""
    curves = {name: _system_curves(metrics, name) for name in source_names(metrics)}
    curves = {name: found for name, found in curves.items() if found}
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        for axes, (name, found) in zip(panels(figure, len(curves), _COLUMNS), curves.items(), strict=True):
            _draw_curves(axes, found, markers=False)
            panel_title(axes, name)
        figure.supxlabel(_RETENTION, fontsize=8.5)
        figure.supylabel(_COMPRESSION, fontsize=8.5)
        used = {index for found in curves.values() for index in found}
        _series_legend(figure, list(metrics["systems"]), used, markers=False)

    size = (_WIDTH, 1.0 + 1.75 * -(-len(curves) // _COLUMNS))
    return to_svg("source-curves", "Retention-compression curves of all systems by source", size, draw)


def _draw_areas(axes: Axes, figures: list[tuple[int, Json]], index: int, systems: int) -> None:
    """Draw one system's areas: the first one's as bars, the others' as markers, staggered in the bar's height."""
    style = series_style(index)
    shift = 0.7 * ((index + 0.5) / systems - 0.5)
    for row, found in figures:
        area = number(found, "area")
        if area is None:
            continue
        if index == 0:
            axes.barh(row, area, height=0.78, color=style.colour, alpha=0.35, zorder=1)
        else:
            axes.plot(area, row + shift, style.marker, color=style.colour, markersize=4, zorder=3)
        around = interval(found, "area")
        if around is not None:
            width = 2.0 if index == 0 else 1.0
            axes.plot([around.low, around.high], [row + shift] * 2, color=style.colour, linewidth=width, zorder=2)


def source_bars(metrics: Json) -> str | None:
    """Return the systems' areas by source with their intervals as SVG; None where there are none."""
    systems = list(metrics["systems"])
    names = [
        name
        for name in source_names(metrics)
        if any(number(source(metrics, system, name), "area") is not None for system in systems)
    ]
    if not names:
        return None
    labels = [*names, "macro average"]

    def draw(figure: Figure) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        axes = figure.subplots()
        handles: list[Patch | Line2D] = []
        for index, system in enumerate(systems):
            rows = [*(source(metrics, system, name) for name in names), macro(metrics, system)]
            _draw_areas(axes, list(enumerate(rows)), index, len(systems))
            style = series_style(index)
            marker = Line2D([], [], color=style.colour, marker=style.marker, markersize=4, linewidth=1.0)
            handles.append(Patch(color=style.colour, alpha=0.35) if index == 0 else marker)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.axhline(len(names) - 0.5, color=INK.light, linewidth=0.8)
        axes.set_xlim(left=-0.008)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("area under the retention-compression curve, with 95% intervals")
        legend_above(figure, handles, systems)

    size = (_WIDTH, 1.2 + len(labels) * max(0.3, 0.07 * len(systems)))
    return to_svg("source-bars", "Area of all systems by source", size, draw)


def all_plots(metrics: Json) -> list[Plot]:
    """Return the plots of a run, without those that it has nothing for.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    first = first_system(metrics)
    found = (
        (
            "macro-curves",
            "systems",
            "Retention and compression",
            "Macro average over sources. Further up drops more, further right loses less.",
            macro_curves(metrics),
        ),
        (
            "source-bars",
            "by-source",
            "Area by source",
            f"Bars: {first}; markers: the others; lines: 95% intervals.",
            source_bars(metrics),
        ),
        ("source-curves", "by-source", "Retention and compression by source", "", source_curves(metrics)),
        (
            "kept-counts",
            "first-system",
            "How many units are kept",
            "Passages of all sources by how many of their units answer and how many are kept; shading is the share of "
            "the row.",
            kept_counts(metrics),
        ),
        (
            "score-histograms",
            "first-system",
            f"Scores of {first}",
            "Share of each class per bin, on a logarithmic scale; the vertical line is the threshold.",
            score_histograms(metrics),
        ),
        (
            "reliability",
            "first-system",
            "Reliability",
            "On the diagonal a score is the probability that a unit answers; larger dots stand for more units.",
            reliability_diagram(metrics),
        ),
        (
            "needle-maps",
            "needle",
            "Needles by position and length",
            "Share of needles found.",
            needle_maps(metrics),
        ),
    )
    return [Plot(key, section, title, caption, svg) for key, section, title, caption, svg in found if svg]
