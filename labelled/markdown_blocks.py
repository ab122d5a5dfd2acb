"""Markdown tables, and the marked blocks of documents that hold generated content.

A block is the text between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, each on a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from secateur.labelled.text_files import read_text
from secateur.models.errors import DataError
from secateur.models.files import write_atomically

_BLOCK = re.compile(r"(<!-- (?P<name>\S+?):begin[^>]*-->\n)(?P<content>.*?)(<!-- (?P=name):end -->)", re.DOTALL)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is aligned left and whose other columns are aligned right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def marked_blocks(text: str) -> dict[str, str]:
    """Return the blocks of a document by name, markers included."""
    return {found["name"]: found[0] for found in _BLOCK.finditer(text)}


def rewrite_block(path: Path, name: str, content: str) -> None:
    """Replace the content of a block in a file.

    Raises:
        DataError: The file cannot be read or written, or does not have exactly one block of that name.
    """
    text = read_text(path)
    count = sum(found["name"] == name for found in _BLOCK.finditer(text))
    if count != 1:
        raise DataError(f"{path}: needs one block <!-- {name}:begin --> ... <!-- {name}:end -->, has {count}")
    new = _BLOCK.sub(lambda found: f"{found[1]}{content}\n{found[4]}" if found["name"] == name else found[0], text)
    write_atomically(path, new)
