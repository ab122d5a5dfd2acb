"""Figures as SVG text: one look, the colours of the page they stand in, the same bytes for the same input."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.models.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour that follows the scheme of the page.

    Attributes:
        variable: name of the page's CSS variable.
        light: lower-case hex code, also used where the page sets no variable; unique among all colours.
        dark: hex code.
    """

    variable: str
    light: str
    dark: str


INK = Colour("ink", "#1c2127", "#e4e7eb")
FAINT = Colour("faint", "#5b6470", "#9aa4b1")
GRID = Colour("grid", "#d9dde3", "#363d47")
# After Okabe and Ito, whose colours are told apart by colour-blind readers; darker here where thin lines would be
# too pale on white. Dashes and markers differ as well.
SERIES = (
    Colour("series-1", "#0068a8", "#58b2f0"),
    Colour("series-2", "#d35400", "#f58a4b"),
    Colour("series-3", "#00916a", "#2fc79a"),
    Colour("series-4", "#b5528c", "#e59bc6"),
    Colour("series-5", "#b98600", "#f0c04a"),
    Colour("series-6", "#46a3d9", "#a9dcff"),
    Colour("series-7", "#707780", "#a3abb5"),
    Colour("series-8", "#20262e", "#dfe3e8"),
)
SCHEME = (INK, FAINT, GRID, *SERIES)

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
_PANEL_TITLE = 27
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT.light,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK.light,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlecolor": INK.light,
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": GRID.light,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK.light,
    "savefig.facecolor": "none",
    # Text stays text: it can be searched and read aloud. DejaVu Sans, by which it is laid out, is a wide font, so
    # that text does not overflow in another one.
    "svg.fonttype": "none",
    "text.color": INK.light,
    # Names of systems and sources may hold dollar signs.
    "text.parse_math": False,
    "xtick.color": FAINT.light,
    "xtick.labelcolor": INK.light,
    "xtick.labelsize": 8,
    "ytick.color": FAINT.light,
    "ytick.labelcolor": INK.light,
    "ytick.labelsize": 8,
}


@dataclass(frozen=True, slots=True)
class SeriesStyle:
    """How one system is drawn, in every figure alike.

    Attributes:
        colour: hex code.
        dash: Matplotlib line style.
        marker: Matplotlib marker.
        width: line width, in points.
    """

    colour: str
    dash: Any
    marker: str
    width: float


def series_style(index: int) -> SeriesStyle:
    """Return the style of the ``index``-th system; the first stands out."""
    return SeriesStyle(
        SERIES[index % len(SERIES)].light,
        _DASHES[index % len(_DASHES)],
        _MARKERS[index % len(_MARKERS)],
        2.2 if index == 0 else 1.3,
    )


def panels(figure: Figure, count: int, columns: int, *, shared: bool = True) -> list[Axes]:
    """Return ``count`` axes in rows of ``columns``; with ``shared`` only the outer ones have tick labels."""
    columns = min(columns, count)
    rows = -(-count // columns)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    if shared:
        # The last row may be short: the panels above its gap are outer ones too.
        for lowest in axes[max(count - columns, 0) : count]:
            lowest.tick_params(labelbottom=True)
    return axes[:count]


def _inlined(svg: str, name: str, title: str) -> str:
    """Return the SVG element for a page: no prologue, its own ids, a title, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    for colour in SCHEME:
        svg = svg.replace(colour.light, f"var(--{colour.variable}, {colour.light})")
    return svg.strip()


def to_svg(name: str, title: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Draw a figure and return its SVG element.

    Args:
        name: prefix of all ids, so that several figures can stand in one page.
        title: what it shows, for those who cannot see it.
        size: width and height, in inches.
        draw: draws on the empty figure.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "eval") from error
    buffer = io.StringIO()
    settings: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inlined(buffer.getvalue(), name, title)


def panel_title(axes: Axes, text: str) -> None:
    """Put a title over one of several panels, cut to the width of a narrow one."""
    axes.set_title(text if len(text) <= _PANEL_TITLE else text[: _PANEL_TITLE - 1] + "…", fontsize=8)


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int = 5) -> None:
    """Put one legend over all axes; below them, it would overlap a label that they share."""
    figure.legend(handles, labels, loc="outside upper center", ncols=min(columns, len(labels)), handlelength=3)
