"""Plots of single systems: needle heat maps, kept counts, score histograms, reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.eval.report.canvas import FAINT, INK, SERIES, legend_above, panel_title, panels, series_style, to_svg
from secateur.eval.report.values import Json, finite, first_system, lookup, macro, number, source, source_names
from secateur.eval.units import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 9.0
# Told apart by colour-blind readers, and ordered in grey print too.
_HEAT = "cividis"
_COUNT_LABELS = ("0", "1", "2", "3", "4+")
_MOST_UNITS_AREA = 90.0


def _heat_map(axes: Axes, shares: FloatArray, texts: list[list[str]], size: float) -> None:
    """Draw a matrix of shares with a text in each cell.

    Args:
        axes: to draw on.
        shares: float64[rows, columns] in [0, 1]; NaN leaves the cell empty.
        texts: one a cell.
        size: of the text, in points.
    """
    rows, columns = shares.shape
    # pcolormesh, as imshow puts a bitmap into the SVG.
    axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_invalid(shares),
        cmap=_HEAT,
        vmin=0,
        vmax=1,
        edgecolors="face",
        linewidth=0.3,
    )
    for row in range(rows):
        for column in range(columns):
            if not np.isnan(shares[row, column]):
                colour = "#000001" if shares[row, column] > 0.55 else "#ffffff"
                axes.text(column, row, texts[row][column], ha="center", va="center", color=colour, fontsize=size)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(visible=False)
    axes.tick_params(length=0)


def needle_maps(metrics: Json) -> str | None:
    """Return where needles are found, by position and length of the passage, as SVG; None where it was not run."""
    systems = lookup(metrics, "needle.systems") or {}
    grids = {name: system["grid"] for name, system in systems.items() if system.get("grid")}
    if not grids:
        return None

    def draw(figure: Figure) -> None:
        for axes, (name, grid) in zip(panels(figure, len(grids), 2, shared=False), grids.items(), strict=True):
            found = [[np.nan if finite(share) is None else share for share in row] for row in grid["found"]]
            shares = np.array(found, dtype=np.float64).reshape(len(grid["lengths"]), len(grid["positions"]))
            _heat_map(axes, shares, [[f"{share:.2f}" for share in row] for row in shares], 7)
            axes.set_xticks(range(len(grid["positions"])), [f"{position:g}" for position in grid["positions"]])
            axes.set_yticks(range(len(grid["lengths"])), [f"{length:g}" for length in grid["lengths"]])
            panel_title(axes, name)
        figure.supxlabel("position of the needle in the passage (0 start, 1 end)", fontsize=8.5)
        figure.supylabel("length of the passage, in units", fontsize=8.5)

    size = (_WIDTH, 0.8 + 1.9 * -(-len(grids) // 2))
    return to_svg("needle-maps", "Share of needles found by position and length of the passage", size, draw)


def kept_counts(metrics: Json) -> str | None:
    """Return the confusion of answering and kept units' counts as SVG; None where no system has a threshold."""
    found = {name: lookup(macro(metrics, name), "kept_counts") for name in metrics["systems"]}
    counts = {name: np.array(value, dtype=np.float64) for name, value in found.items() if value is not None}
    if not counts:
        return None

    def draw(figure: Figure) -> None:
        for axes, (name, matrix) in zip(panels(figure, len(counts), 3), counts.items(), strict=True):
            totals = matrix.sum(axis=1, keepdims=True)
            shares = np.divide(matrix, totals, out=np.full_like(matrix, np.nan), where=totals > 0)
            _heat_map(axes, shares, [[f"{count:,.0f}" for count in row] for row in matrix], 7)
            axes.set_xticks(range(len(_COUNT_LABELS)), _COUNT_LABELS)
            axes.set_yticks(range(len(_COUNT_LABELS)), _COUNT_LABELS)
            panel_title(axes, name)
        figure.supxlabel("units kept", fontsize=8.5)
        figure.supylabel("answering units in the passage", fontsize=8.5)

    size = (_WIDTH, 0.8 + 2.3 * -(-len(counts) // 3))
    return to_svg("kept-counts", "Passages by number of answering and of kept units", size, draw)


def _draw_histogram(axes: Axes, histogram: Json, threshold: float | None) -> None:
    edges = np.array(histogram["edges"], dtype=np.float64)
    for part, index in (("other", 1), ("gold", 0)):
        counts = np.array(histogram[part], dtype=np.float64)
        shares = counts / max(counts.sum(), 1.0)
        colour = SERIES[index].light
        axes.stairs(shares, edges, color=colour, linewidth=1.3, linestyle="-" if part == "gold" else (0, (4, 1.2)))
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.15)
    if threshold is not None:
        axes.axvline(threshold, color=INK.light, linewidth=0.9, linestyle=(0, (1, 1.5)))
    axes.set_yscale("log")
    axes.set_ylim(5e-4, 1.3)
    axes.set_yticks([1, 0.1, 0.01, 0.001], ["1", "0.1", "0.01", "0.001"])
    axes.minorticks_off()
    axes.set_xlim(edges[0], edges[-1])


def score_histograms(metrics: Json) -> str | None:
    """Return the first system's scores of answering and other units, overall and by source, as SVG, or None."""
    first = first_system(metrics)
    scopes = [("all sources", macro(metrics, first))]
    scopes += [(name, source(metrics, first, name)) for name in source_names(metrics)]
    histograms = {name: lookup(figures, "histogram") for name, figures in scopes}
    histograms = {name: histogram for name, histogram in histograms.items() if histogram is not None}
    if not histograms:
        return None
    threshold = finite(metrics["systems"][first].get("threshold"))

    def draw(figure: Figure) -> None:
        from matplotlib.lines import Line2D

        for axes, (name, histogram) in zip(panels(figure, len(histograms), 4), histograms.items(), strict=True):
            _draw_histogram(axes, histogram, threshold)
            panel_title(axes, name)
        figure.supxlabel("score", fontsize=8.5)
        figure.supylabel("share of the class's units (log)", fontsize=8.5)
        handles = [
            Line2D([], [], color=SERIES[0].light),
            Line2D([], [], color=SERIES[1].light, linestyle=(0, (4, 1.2))),
            Line2D([], [], color=INK.light, linewidth=0.9, linestyle=(0, (1, 1.5))),
        ]
        labels = ["answering units", "other units", "threshold"]
        legend_above(figure, handles[: 2 + (threshold is not None)], labels[: 2 + (threshold is not None)])

    size = (_WIDTH, 1.0 + 1.6 * -(-len(histograms) // 4))
    return to_svg("score-histograms", f"Scores of {first} for answering and other units", size, draw)


def _draw_reliability(axes: Axes, bins: list[Any], index: int) -> None:
    points = [(number(b, "mean"), number(b, "share"), number(b, "units") or 0.0) for b in bins]
    known = [(mean, share, units) for mean, share, units in points if mean is not None and share is not None]
    if not known:
        return
    style = series_style(index)
    means, shares, units = (np.array(column) for column in zip(*known, strict=True))
    axes.plot(means, shares, color=style.colour, linestyle=style.dash, linewidth=style.width)
    # Areas follow the logarithm: most units score near 0, and their bin would dwarf all others.
    areas = 8 + (_MOST_UNITS_AREA - 8) * np.log1p(units) / max(np.log1p(units).max(), 1.0)
    axes.scatter(means, shares, s=areas, color=style.colour, marker=style.marker, alpha=0.8, linewidths=0, zorder=3)


def reliability_diagram(metrics: Json) -> str | None:
    """Return the share of answering units by score as SVG; None where no system's score is a probability."""
    found = {
        index: (name, lookup(macro(metrics, name), "reliability")) for index, name in enumerate(metrics["systems"])
    }
    found = {index: (name, bins) for index, (name, bins) in found.items() if bins}
    if not found:
        return None

    def draw(figure: Figure) -> None:
        from matplotlib.lines import Line2D

        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT.light, linewidth=0.9, linestyle=(0, (1, 1.5)))
        handles = [Line2D([], [], color=FAINT.light, linewidth=0.9, linestyle=(0, (1, 1.5)))]
        for index, (_, bins) in found.items():
            _draw_reliability(axes, bins, index)
            style = series_style(index)
            handles.append(Line2D([], [], color=style.colour, linestyle=style.dash, marker=style.marker, markersize=4))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("mean score of the bin")
        axes.set_ylabel("share of units that answer")
        legend_above(figure, handles, ["perfect", *(name for name, _ in found.values())], columns=4)

    return to_svg("reliability", "Share of answering units by score", (5.2, 5.4), draw)
