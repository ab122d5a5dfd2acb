"""What a report says, before it is Markdown or HTML: sections of sentences and tables of text cells."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.eval.report.values import Interval, Json, interval, number

ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: plain text.
        strong: whether it stands out, e.g. as the best of its row.
    """

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names the rows.

    Attributes:
        caption: one line above it; may be empty.
        header: one text a column.
        rows: of as many cells as the header has texts.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report, in the order of its fields; texts are plain but for `code`.

    Attributes:
        key: anchor, unique in the report.
        title: heading.
        lead: paragraphs.
        bullets: list items.
        tables: tables.
        notes: paragraphs below the tables.
    """

    key: str
    title: str
    lead: tuple[str, ...] = ()
    bullets: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number as text, a dash for an absent one."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    """Return a count as text, a dash for an absent one."""
    return ABSENT if value is None else f"{value:,.0f}"


def p_value(p: float | None) -> str:
    """Return a p value as text; one that rounds to zero is not shown as zero."""
    return "<0.001" if p is not None and p < 0.0005 else decimal(p)


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def with_interval(value: float | None, around: Interval | None) -> str:
    """Return ``0.712 [0.690, 0.734]``, or less where something is absent."""
    if value is None or around is None:
        return decimal(value)
    return f"{decimal(value)} [{decimal(around.low)}, {decimal(around.high)}]"


def signed_with_interval(difference: float, around: Interval | None) -> str:
    """Return ``+0.120 [+0.098, +0.141]``, or no bracket where the interval is absent."""
    return signed(difference) + (f" [{signed(around.low)}, {signed(around.high)}]" if around else "")


def figure_cell(figures: Json, name: str) -> Cell:
    """Return the cell of a figure, with its interval where there is one."""
    return Cell(with_interval(number(figures, name), interval(figures, name)))


def text_row(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain cells."""
    return tuple(Cell(text) for text in texts)
