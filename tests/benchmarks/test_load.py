"""The service beside its engine and under overload; small, for what the benchmark says and not how fast it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import LoadOptions, is_right, measure_load
from secateur.models.errors import InputError
from secateur.models.pruner import Pruner


def labelled(path: Path) -> Path:
    """Forty examples, enough for requests of three passages."""
    lines = []
    for number in range(40):
        text = f"Tower {number} stands in Paris. It was finished in {1800 + number}."
        passages = [{"text": text, "relevant": True, "spans": [[text.index("It"), len(text)]]}]
        lines.append(
            json.dumps({"id": str(number), "query": f"When was tower {number} finished?", "passages": passages})
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_table_compares_and_the_note_tells_of_overload(tmp_path: Path) -> None:
    options = LoadOptions(passages=(1, 3), requests=8, rounds=1, seconds=3)
    table = measure_load(labelled(tmp_path / "a.jsonl"), options)
    assert [row[1] for row in table.rows] == ["1"] * 4 + ["3"] * 4
    for row in table.rows[:3]:
        assert float(row[2]) > 0
        assert float(row[4]) > 0
    assert "; 0 answers differed from the library's" in table.note
    # A machine that others use, too, may miss the deadline.
    assert re.search(r" (0 otherwise|\d+ otherwise \(\{504: \d+\}\));", table.note)


def test_an_answer_is_right_only_if_all_of_it_is(pruner: Pruner) -> None:
    expected = pruner.prune("When was it finished?", ["It was finished in 1889. It is tall.", "Bread."])
    content: dict[str, Any] = {
        "results": [{"index": r.index, "text": r.text, "score": r.score} for r in expected.results]
    }
    assert is_right(content, expected)
    for name, value in (("index", 7), ("text", "other"), ("score", content["results"][0]["score"] + 0.01)):
        assert not is_right({"results": [{**content["results"][0], name: value}, content["results"][1]]}, expected)
    assert not is_right({"results": content["results"][:1]}, expected)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"passages": (0,)}, {"requests": 0}, {"seconds": 0}])
def test_a_wrong_option_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--"):
        LoadOptions(**wrong)  # type: ignore[arg-type]
