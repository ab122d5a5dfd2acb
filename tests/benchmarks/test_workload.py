from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables import BenchTable, median_ms, percentile_ms, ratio_cells, write_bench
from benchmarks.workload import Timing, interleave, real_pairs
from secateur.models.errors import DataError


def test_contestants_run_in_turn_after_one_warm_up() -> None:
    calls: list[str] = []
    timings = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert [len(t.seconds) for t in timings] == [2, 2]


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio_cells(Timing("a", (2.0, 6.0, 4.0)), Timing("b", (1.0, 2.0, 4.0))) == ["2.00", "1.00 to 3.00"]


def test_few_calls_have_no_percentile_and_one_call_has_no_range() -> None:
    assert median_ms([0.1, 0.2, 0.4]) == "200 ms"
    assert percentile_ms([0.1] * 19, 95) == "–"
    assert percentile_ms([0.1] * 20, 95) == "100 ms"
    assert ratio_cells(Timing("a", (2.0,)), Timing("b", (1.0,))) == ["2.00", "–"]


def test_pairs_are_the_same_every_time(tmp_path: Path) -> None:
    rows = [{"query": f"q{i}", "passages": [{"text": f"t{i}"}]} for i in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert real_pairs(tmp_path, 5) == real_pairs(tmp_path, 5)
    with pytest.raises(DataError, match="needs 10 pairs"):
        real_pairs(tmp_path, 10)


def test_a_table_goes_into_its_block(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("<!-- bench-speed:begin -->\n<!-- bench-speed:end -->\n", encoding="utf-8")
    write_bench("bench-speed", BenchTable(["", "x"], [["a", "1"]], "Note."), path)
    assert "| a | 1 |" in path.read_text(encoding="utf-8")
    assert "threads" in path.read_text(encoding="utf-8")
