"""The benchmark of corpora; small, for what it says and not how fast it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus import CorpusBenchOptions, measure_corpus
from secateur.models.errors import InputError


@pytest.mark.slow
def test_the_table_tells_of_speed_memory_and_kills(tmp_path: Path) -> None:
    lines = []
    for number in range(40):
        text = f"Tower {number} stands in Paris. It was finished in {1800 + number}."
        passages = [{"text": text, "relevant": True, "relevant_spans": []}]
        lines.append(
            json.dumps({"id": str(number), "query": f"When was tower {number} finished?", "passages": passages})
        )
    data = tmp_path / "a.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    table = measure_corpus(data, CorpusBenchOptions(passages=150, kills=1))
    whole, killed = table.rows
    assert float(whole[2].replace(",", "")) > 0
    assert all(0 < float(cell.removesuffix(" MB").replace(",", "")) < 4000 for cell in whole[3:])
    assert killed[0] == "killed 1 times"
    assert "it wrote the same bytes" in table.note


def test_nothing_to_prune_is_refused() -> None:
    with pytest.raises(InputError, match="--passages"):
        CorpusBenchOptions(passages=0)
