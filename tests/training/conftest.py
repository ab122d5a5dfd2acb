from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.checkpoint import load_tokenizer, resolve
from secateur.models.types import Passage

TEXT = "Rome is old. Anna won the race. It rained all day. The crowd went home."
ANSWER = (TEXT.index("Anna"), TEXT.index("race.") + 5)


def _example(name: str) -> Example:
    positive = LabelledPassage(Passage(TEXT, title="Races"), (ANSWER,), True)
    negatives = [
        LabelledPassage(Passage(f"Nothing of the kind {name}{number}. Cats sleep."), (), False) for number in range(3)
    ]
    return Example(name, "toy", f"Who won {name}?", (positive, *negatives))


def _row(name: str) -> dict[str, Any]:
    passages = [
        {"id": "p", "title": "Races", "text": TEXT, "relevant_spans": [list(ANSWER)], "relevant": True},
        {"id": "n", "title": "", "text": "Cats sleep. Dogs bark.", "relevant_spans": [], "relevant": False},
    ]
    return {"id": name, "source": "toy", "query": f"Who won {name}?", "passages": passages}


@pytest.fixture(scope="session")
def toy_example() -> Callable[[str], Example]:
    """Makes an example of that name: a passage of four units, the second of which answers, and three negatives."""
    return _example


@pytest.fixture(scope="session")
def toy_row() -> Callable[[str], dict[str, Any]]:
    """Makes a row of the schema, like `toy_example`."""
    return _row


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for source, size in (("large", 40), ("small", 5)):
        lines = [json.dumps(_row(f"{source}{i}")) for i in range(size)]
        (tmp_path / f"{source}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def labelled_sample() -> Path:
    """Real labelled examples of five sources; see tests/data/README.md."""
    return Path(__file__).parents[1] / "data" / "labelled"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer(resolve(None))
