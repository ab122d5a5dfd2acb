"""Prune a README, an API page in HTML, the log of a pytest run, and a CSV file.

Run: python examples/structure.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from secateur import Passage, Pruner

FOLDER = Path(__file__).with_name("structure")
MARKER = "[… {lines} lines omitted]"
QUERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "readme.md": ("What is the default of the setting interval?", {}),
    "api.html": ("How long after its creation can an order be cancelled?", {}),
    "pytest.log": (
        "Why does the test of the level fail?",
        {"always_keep": ["errors"], "gap_marker": MARKER, "compression": 0.6},
    ),
    "stock.csv": ("How many float switches for salt water are in stock?", {"max_tokens": 80}),
}


def main() -> None:
    """Print what is kept of each file, and its lines in the source."""
    pruner = Pruner.load()
    for name, (query, options) in QUERIES.items():
        passage = Passage((FOLDER / name).read_text(encoding="utf-8"), id=name)
        pruned = pruner.prune(query, [passage], **options)
        (result,) = pruned.results
        lines = ", ".join(f"{first}-{last}" for first, last in result.line_spans)
        about = f"{name}: {result.format}, lines {lines}, {pruned.usage.compression:.0%} dropped"
        sys.stdout.write(f"{query}\n{about}\n{result.text}\n\n")


if __name__ == "__main__":
    main()
