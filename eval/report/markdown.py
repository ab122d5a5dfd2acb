"""The report of a run as Markdown."""

from __future__ import annotations

from secateur.eval.report.content import Json, Section, Strong, Table, first_system
from secateur.eval.report.sections import report_sections
from secateur.labelled.markdown_blocks import markdown_table


def report_title(metrics: Json) -> str:
    """Return the heading of the report."""
    return f"Evaluation of {first_system(metrics)}"


def escape_markdown(text: str) -> str:
    """Return text that stays in its table cell and starts no HTML; strong text in bold."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return f"**{plain}**" if isinstance(text, Strong) and plain else plain


def table_lines(table: Table) -> str:
    """Return the lines of a table without its caption."""
    header = [escape_markdown(text) for text in table.header]
    return markdown_table(header, [[escape_markdown(cell) for cell in row] for row in table.rows])


def _section(section: Section) -> str:
    blocks = [f"## {escape_markdown(section.title)}", escape_markdown(section.lead)]
    blocks.append("\n".join(f"- {escape_markdown(text)}" for text in section.bullets))
    for table in section.tables:
        blocks += [f"{escape_markdown(table.caption)}:" if table.caption else "", table_lines(table)]
    blocks += map(escape_markdown, section.notes)
    return "\n\n".join(block for block in blocks if block)


def render_markdown(metrics: Json) -> str:
    """Return the report of a run, given the content of its ``metrics.json``."""
    blocks = [f"# {escape_markdown(report_title(metrics))}", *map(_section, report_sections(metrics))]
    return "\n\n".join(blocks) + "\n"
