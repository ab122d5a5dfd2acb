"""The before-and-after example of the README: ``python -m benchmarks.example PASSAGES.jsonl README.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from secateur.labelled.json_files import json_lines
from secateur.labelled.markdown_blocks import rewrite_block
from secateur.models.pruner import Pruner
from secateur.models.requests import as_passage

QUERY = "When was the Eiffel Tower finished?"


def render(pruner: Pruner, file: Path) -> str:
    """Return the pruned passages of a file as Markdown: kept text in bold, dropped text struck through."""
    passages = [as_passage(value, f"line {number}") for number, value in json_lines(file)]
    result = pruner.prune(QUERY, passages, return_units=True)
    rows = [f"> **Query:** {QUERY}"]
    for item in result.results:
        text = passages[item.index].text
        units = [(text[u.start : u.end].strip(), u.kept) for u in item.units or ()]
        marked = " ".join(f"**{unit}**" if kept else f"~~{unit}~~" for unit, kept in units)
        rows.append(f">\n> *{item.id}*, relevance {item.score:.2f}: {marked}")
    return "\n".join([*rows, f"\n{result.usage.input_tokens} tokens in, {result.usage.output_tokens} out."])


if __name__ == "__main__":
    rewrite_block(Path(sys.argv[2]), "example", render(Pruner.load(), Path(sys.argv[1])))
