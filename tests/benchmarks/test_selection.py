from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.selection import SelectionOptions, draw, measure_selection, pairs_of, with_chosen
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import InputError


def _examples(count: int) -> list[dict[str, object]]:
    passages = [{"text": f"Text {place}.", "format": "markdown", "relevant_spans": []} for place in range(2)]
    return [{"id": str(number), "query": f"q{number}", "passages": passages} for number in range(count)]


def test_the_pool_takes_each_source_equally_and_reads_plain_text(tmp_path: Path) -> None:
    for name, count in (("a.jsonl", 5), ("b.jsonl.gz", 2)):
        write_json_lines(tmp_path / name, _examples(count))
    pool = draw(tmp_path, 3)
    assert {name: len(rows) for name, rows in pool.items()} == {"a.jsonl": 3, "b.jsonl.gz": 2}
    pairs = list(pairs_of(pool))
    assert len({pair.id for pair in pairs}) == len(pairs) == 10
    assert {pair.format for pair in pairs} == {"text"}


def test_chosen_passages_stay_with_their_query() -> None:
    pool = {"a.jsonl": _examples(2), "b.jsonl": _examples(1)}
    chosen = with_chosen(pool, {"a.jsonl/1/0"})
    assert [row["query"] for row in chosen["a.jsonl"]] == ["q1"]
    assert [p["text"] for p in chosen["a.jsonl"][0]["passages"]] == ["Text 0."]
    assert "b.jsonl" not in chosen


def test_examples_to_measure_on_are_required(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        measure_selection(tmp_path, SelectionOptions())
    assert raised.value.field == "--validation"
