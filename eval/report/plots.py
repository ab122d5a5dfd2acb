"""The plots of a run as SVG text: one look, the colours of the page around them, the same bytes for the same input."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from secateur.eval.metrics import RETENTION_LEVELS
from secateur.eval.report.content import MACRO, Json, first_system, number, scope, source_names
from secateur.models.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Colour(NamedTuple):
    """A colour that follows the scheme of the page: its CSS variable, and lower-case hex codes on light and on dark."""

    variable: str
    light: str
    dark: str


_INK = Colour("ink", "#1c2127", "#e4e7eb")
_FAINT = Colour("faint", "#5b6470", "#9aa4b1")
_GRID = Colour("grid", "#d9dde3", "#363d47")
# After Okabe and Ito, for colour-blind readers; darker here, where thin lines would be too pale on white. Dashes and
# markers differ as well.
_LIGHT = ("#0068a8", "#d35400", "#00916a", "#b5528c", "#b98600", "#46a3d9", "#707780", "#20262e")
_DARK = ("#58b2f0", "#f58a4b", "#2fc79a", "#e59bc6", "#f0c04a", "#a9dcff", "#a3abb5", "#dfe3e8")
_SERIES = tuple(Colour(f"series-{n}", *pair) for n, pair in enumerate(zip(_LIGHT, _DARK, strict=True), 1))
SCHEME = (_INK, _FAINT, _GRID, *_SERIES)

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DOTTED = (0, (1, 1.5))
_WIDTH = 9.0
_LABEL_SIZE = 8.5
_COLUMNS = 4  # of panels
_MOST_TITLE = 27  # characters
_RETENTION = "retention (share of relevant passages that keep every answering unit)"
_COMPRESSION = "compression (share of characters dropped)"
_AREA = "area under the retention-compression curve, with 95% intervals"
_SHARE = "share of the class's units (log)"
_STYLE: dict[str, Any] = {
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), _FAINT.light),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor", "legend.labelcolor", "text.color"), _INK.light),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), _INK.light),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "axes.titlesize"), 8),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "font.family": "DejaVu Sans",
    "font.size": _LABEL_SIZE,
    "grid.color": _GRID.light,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text: searchable and readable aloud
    "text.parse_math": False,  # names of systems and sources may hold dollar signs
}


def series_style(index: int, *, marker: bool = True) -> dict[str, Any]:
    """Return how the ``index``-th system is drawn, as arguments of `Axes.plot`; the first stands out."""
    shape = {"marker": _MARKERS[index % len(_MARKERS)], "markersize": 4} if marker else {}
    return {
        "color": _SERIES[index % len(_SERIES)].light,
        "linestyle": _DASHES[index % len(_DASHES)],
        "linewidth": 2.2 if index == 0 else 1.3,
        **shape,
    }


def _panels(figure: Figure, names: Sequence[str], height: float, x_label: str, y_label: str) -> list[Axes]:
    """Return titled axes in rows of four; only the outer ones have tick labels."""
    columns = min(_COLUMNS, len(names))
    figure.set_size_inches(_WIDTH, 1.0 + height * -(-len(names) // _COLUMNS))
    grid = figure.subplots(-(-len(names) // columns), columns, squeeze=False, sharex=True, sharey=True)
    axes = list(grid.flat)
    for unused in axes[len(names) :]:
        unused.remove()
    for outer in axes[max(len(names) - columns, 0) : len(names)]:
        outer.tick_params(labelbottom=True)  # the last row may be short: the panels above its gap are outer ones too
    for one, name in zip(axes, names, strict=False):
        one.set_title(name if len(name) <= _MOST_TITLE else name[: _MOST_TITLE - 1] + "…")
    figure.supxlabel(x_label, fontsize=_LABEL_SIZE)
    figure.supylabel(y_label, fontsize=_LABEL_SIZE)
    return axes[: len(names)]


def _legend(figure: Figure, entries: Mapping[str, Mapping[str, Any]], columns: int = 5) -> None:
    """Put one legend above all axes; below them it would overlap a shared label."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **style) for style in entries.values()]
    figure.legend(handles, [*entries], loc="outside upper center", ncols=min(columns, len(entries)), handlelength=3)


def _draw_curves(axes: Axes, metrics: Json, source: str, *, marker: bool) -> None:
    for index, system in enumerate(metrics["systems"]):
        if curve := scope(metrics, system, source).get("curve"):
            line = series_style(index, marker=marker)
            axes.plot(RETENTION_LEVELS, curve, **line, markevery=(index % 5, 10), zorder=3 if index == 0 else 2)
    axes.set(xlim=(0.495, 1.005), ylim=(-0.02, 1.0))


def _macro_curves(figure: Figure, metrics: Json) -> None:
    figure.set_size_inches(_WIDTH, 4.6)
    axes = figure.subplots()
    _draw_curves(axes, metrics, MACRO, marker=True)
    axes.set(xlabel=_RETENTION, ylabel=_COMPRESSION)
    names = [f"{name}: {system['about'].get('what', name)}" for name, system in metrics["systems"].items()]
    _legend(figure, {name: series_style(index) for index, name in enumerate(names)}, columns=2)


def _source_curves(figure: Figure, metrics: Json) -> None:
    names = [name for name in source_names(metrics) if "curve" in scope(metrics, first_system(metrics), name)]
    for axes, name in zip(_panels(figure, names, 1.75, _RETENTION, _COMPRESSION), names, strict=True):
        _draw_curves(axes, metrics, name, marker=False)
    _legend(figure, {name: series_style(index, marker=False) for index, name in enumerate(metrics["systems"])})


def _source_bars(figure: Figure, metrics: Json) -> None:
    systems, first = list(metrics["systems"]), first_system(metrics)
    names = [name for name in source_names(metrics) if number(scope(metrics, first, name), "area") is not None]
    labels = [*names, MACRO]
    figure.set_size_inches(_WIDTH, 1.2 + len(labels) * max(0.3, 0.07 * len(systems)))
    axes = figure.subplots()
    for index, system in enumerate(systems):
        style = series_style(index)
        shift = 0.7 * ((index + 0.5) / len(systems) - 0.5)  # staggered in the height of the first system's bar
        for row, figures in enumerate(scope(metrics, system, label) for label in labels):
            area, ends = number(figures, "area"), figures.get("intervals", {}).get("area")
            if area is None:
                continue
            if index == 0:
                axes.barh(row, area, height=0.78, color=style["color"], alpha=0.35, zorder=1)
            else:
                axes.plot(area, row + shift, style["marker"], color=style["color"], markersize=4, zorder=3)
            if ends is not None:
                width = 2.0 if index == 0 else 1.0
                axes.plot(ends, [row + shift] * 2, color=style["color"], linewidth=width, zorder=2)
    axes.set_yticks(range(len(labels)), labels)
    axes.axhline(len(names) - 0.5, color=_INK.light, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(-0.008, None), xlabel=_AREA)
    bar = {"color": series_style(0)["color"], "alpha": 0.35, "linewidth": 8}
    _legend(figure, {first: bar, **{system: series_style(index) for index, system in enumerate(systems) if index}})


def _score_histograms(figure: Figure, metrics: Json) -> None:
    first = first_system(metrics)
    names, threshold = [MACRO, *source_names(metrics)], metrics["systems"][first]["threshold"]
    styles: dict[str, dict[str, Any]] = {
        "other units": {"color": _SERIES[1].light, "linestyle": (0, (4, 1.2)), "linewidth": 1.3},
        "answering units": {"color": _SERIES[0].light, "linestyle": "-", "linewidth": 1.3},
    }
    bar: dict[str, Any] = {"color": _INK.light, "linestyle": _DOTTED, "linewidth": 0.9}
    for axes, name in zip(_panels(figure, names, 1.6, "score", _SHARE), names, strict=True):
        histogram = scope(metrics, first, name)["histogram"]
        for counts, style in zip((histogram["other"], histogram["gold"]), styles.values(), strict=True):
            shares = np.array(counts, dtype=np.float64) / max(sum(counts), 1)
            axes.stairs(shares, histogram["edges"], **style)
            axes.stairs(shares, histogram["edges"], fill=True, color=style["color"], alpha=0.15)
        if threshold is not None:
            axes.axvline(threshold, **bar)
        axes.set(yscale="log", ylim=(5e-4, 1.3), xlim=(histogram["edges"][0], histogram["edges"][-1]))
        axes.set_yticks([1, 0.1, 0.01, 0.001], ["1", "0.1", "0.01", "0.001"])
        axes.minorticks_off()
    _legend(figure, styles if threshold is None else {**styles, "threshold": bar})


def _reliability(figure: Figure, metrics: Json) -> None:
    figure.set_size_inches(5.2, 5.4)
    perfect: dict[str, Any] = {"color": _FAINT.light, "linewidth": 0.9, "linestyle": _DOTTED}
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], **perfect)
    for index, name in enumerate(metrics["systems"]):
        rows, style = scope(metrics, name, MACRO)["reliability"], series_style(index)
        means, shares, units = (np.array([row[key] for row in rows]) for key in ("mean", "share", "units"))
        axes.plot(means, shares, **series_style(index, marker=False))
        # Areas follow the logarithm: most units score near 0, and their bin would dwarf all others.
        areas = 8 + 82 * np.log1p(units) / max(np.log1p(units).max(), 1.0)
        dots = {"color": style["color"], "marker": style["marker"], "alpha": 0.8, "linewidths": 0, "zorder": 3}
        axes.scatter(means, shares, s=areas, **dots)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="mean score of the bin", ylabel="share of units that answer")
    entries = {name: series_style(index) for index, name in enumerate(metrics["systems"])}
    _legend(figure, {"perfect": perfect, **entries}, columns=4)


_PLOTS: dict[str, tuple[str, Callable[[Figure, Json], None]]] = {
    "macro-curves": ("Compression against retention of all systems", _macro_curves),
    "source-bars": ("Area of all systems by source", _source_bars),
    "source-curves": ("Compression against retention of all systems by source", _source_curves),
    "score-histograms": ("Scores of {first} by class", _score_histograms),
    "reliability": ("Share of answering units by score", _reliability),
}
"""For each plot a text for readers who cannot see it, and what sizes an empty figure and draws a run on it."""


def _svg(name: str, metrics: Json, *, inline: bool = True) -> str:
    """Draw a plot and return its SVG element; one that is inline takes the colours of its page, else it is on white.

    The name is the prefix of all ids, so that several plots can be in one page.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "eval") from error
    title, draw = _PLOTS[name]
    buffer = io.StringIO()
    settings: Any = {**_STYLE, "svg.hashsalt": name, **({} if inline else {"savefig.facecolor": "#ffffff"})}
    with matplotlib.rc_context(settings):
        figure = Figure(layout="constrained")
        draw(figure, metrics)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace(
        "<svg ", f'<svg role="img" aria-label="{html.escape(title.format(first=first_system(metrics)))}" ', 1
    ).strip()
    if inline:
        svg = re.sub(r'\bid="', f'id="{name}-', svg)
        svg = re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", svg)
        for colour in SCHEME:
            svg = svg.replace(colour.light, f"var(--{colour.variable}, {colour.light})")
    return svg


def retention_plot(metrics: Json) -> str:
    """Return the macro averages' curves as the content of an SVG file with a white background."""
    return f"{_svg('macro-curves', metrics, inline=False)}\n"


def report_plots(metrics: Json) -> dict[str, str]:
    """Return the SVG elements of a run's page by name."""
    return {name: _svg(name, metrics) for name in _PLOTS}
