"""Generated tables in the project's documents: every marked block that a document has is rewritten.

A run without titles has blocks of its own, e.g. `quality-untitled`, so that a document may have both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from secateur.eval.report.content import Json, Table
from secateur.eval.report.markdown import table_lines
from secateur.eval.report.sections import needle_table, quality_table, robustness_table, systems_table
from secateur.labelled.markdown_blocks import marked_blocks, rewrite_block
from secateur.labelled.text_files import read_text
from secateur.models.errors import DataError

_BLOCKS: dict[str, Callable[[Json], Table | None]] = {
    "quality": quality_table,
    "systems": systems_table,
    "needle": needle_table,
    "robustness": robustness_table,
}
_UNTITLED = "-untitled"


def update_document(target: str, metrics: Json) -> None:
    """Rewrite the blocks of a document, ``PATH`` or for one block ``PATH:BLOCK``, that this run has a table for.

    Raises:
        DataError: The document cannot be read, or has no such block.
    """
    suffix = "" if metrics["setup"]["titles"] else _UNTITLED
    tables = {name + suffix: table for name, table in _BLOCKS.items()}
    file, _, block = target.rpartition(":")
    if block.removesuffix(_UNTITLED) not in _BLOCKS:
        file, block = target, ""
    if block and block not in tables:
        raise DataError(f"{target}: this run showed {'no titles' if suffix else 'titles'}; its blocks are {[*tables]}")
    path = Path(file)
    present = [block] if block else [name for name in marked_blocks(read_text(path)) if name in tables]
    if not present:
        name = f"quality{suffix}"
        raise DataError(f"{path}: has no block to rewrite; it needs <!-- {name}:begin --> ... <!-- {name}:end -->")
    for name in present:
        if (table := tables[name](metrics)) is not None:
            note = f"\n\n{table.caption}." if table.caption else ""
            rewrite_block(path, name, table_lines(table) + note)
