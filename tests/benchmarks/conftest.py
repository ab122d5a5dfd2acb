"""A small source with passages of mixed lengths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SENTENCES = [
    "The Eiffel Tower was completed in March 1889.",
    "Plants take in carbon dioxide and water and give off oxygen.",
    "The court held that the contract was void.",
    "Cats sleep for most of the day.",
]


@pytest.fixture(scope="session")
def bench_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled examples of 40 passages of one to nine sentences."""
    directory = tmp_path_factory.mktemp("data")
    rows = [
        {
            "query": f"When was tower number {i} completed?",
            "passages": [{"text": f"Passage {i}. " + " ".join(SENTENCES[k % 4] for k in range(i % 9))}],
        }
        for i in range(40)
    ]
    (directory / "toy.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return directory
