"""The before-and-after example of the README: ``python -m secateur.eval.example PASSAGES.jsonl README.md``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from secateur.labelled.markdown_blocks import rewrite_block
from secateur.models.pruner import Pruner
from secateur.models.requests import as_passage

QUERY = "When was the Eiffel Tower finished?"


def render(pruner: Pruner, file: Path) -> str:
    """Prune the file's passages and return them as Markdown: kept text bold, dropped text struck through."""
    lines = file.read_text(encoding="utf-8").splitlines()
    passages = [as_passage(json.loads(line), f"line {number}") for number, line in enumerate(lines, 1)]
    result = pruner.prune(QUERY, passages, return_units=True)
    rows = [f"> **Query:** {QUERY}"]
    for item in result.results:
        text = passages[item.index].text
        units = [(text[u.start : u.end].strip(), u.kept) for u in item.units or ()]
        marked = " ".join(f"**{unit}**" if kept else f"~~{unit}~~" for unit, kept in units)
        rows.append(f">\n> *{item.id}*, relevance {item.score:.2f}: {marked}")
    usage = result.usage
    rows.append(
        f"\n{usage.input_tokens} tokens in, {usage.output_tokens} out. Made by "
        "`python -m secateur.eval.example examples/passages.jsonl README.md`."
    )
    return "\n".join(rows)


if __name__ == "__main__":
    rewrite_block(Path(sys.argv[2]), "example", render(Pruner.load(), Path(sys.argv[1])))
