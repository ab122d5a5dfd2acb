"""Markdown tables, and the marked blocks of documents that generated tables live in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from secateur.models.errors import DataError


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns but the first are aligned right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rewrite_block(path: Path, name: str, content: str) -> None:
    """Replace what stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    Raises:
        DataError: the file has no such block.
    """
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    new, count = pattern.subn(lambda match: f"{match[1]}{content}\n{match[2]}", text)
    if count != 1:
        raise DataError(f"{path}: needs one block <!-- {name}:begin --> ... <!-- {name}:end -->, has {count}")
    path.write_text(new, encoding="utf-8")
