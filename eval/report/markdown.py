"""The report of a run as Markdown."""

from __future__ import annotations

from secateur.eval.report.comparison_sections import comparisons_section
from secateur.eval.report.content import Cell, Section, Table
from secateur.eval.report.probe_sections import needle_section, robustness_section, setup_section, skipped_section
from secateur.eval.report.quality_sections import by_source_section, first_system_section, systems_section
from secateur.eval.report.values import Json, first_system
from secateur.eval.tables import markdown_table


def report_title(metrics: Json) -> str:
    """Return the report's heading."""
    return f"Evaluation of {first_system(metrics)}"


def sections(metrics: Json) -> list[Section]:
    """Return the report's sections in order, without those that the run has nothing for."""
    found = (
        systems_section(metrics),
        comparisons_section(metrics),
        by_source_section(metrics),
        first_system_section(metrics),
        needle_section(metrics),
        robustness_section(metrics),
        skipped_section(metrics),
        setup_section(metrics),
    )
    return [section for section in found if section is not None]


def escape_markdown(text: str) -> str:
    """Return text that stays in its table cell and starts no HTML."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"**{text}**" if cell.strong and text else text


def _table(table: Table) -> str:
    header = [escape_markdown(text) for text in table.header]
    lines = markdown_table(header, [[_cell(cell) for cell in row] for row in table.rows])
    return f"{escape_markdown(table.caption)}:\n\n{lines}" if table.caption else lines


def _section(section: Section) -> str:
    blocks = [f"## {escape_markdown(section.title)}", *(escape_markdown(text) for text in section.lead)]
    if section.bullets:
        blocks.append("\n".join(f"- {escape_markdown(text)}" for text in section.bullets))
    blocks += [_table(table) for table in section.tables]
    blocks += [escape_markdown(text) for text in section.notes]
    return "\n\n".join(blocks)


def render_markdown(metrics: Json) -> str:
    """Return a run's report as Markdown.

    Args:
        metrics: the content of the run's ``metrics.json``; `check_metrics` says whether it can be used.
    """
    blocks = [f"# {escape_markdown(report_title(metrics))}", *(_section(section) for section in sections(metrics))]
    return "\n\n".join(blocks) + "\n"
