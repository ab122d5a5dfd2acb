from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import footprint, overhead


@pytest.mark.slow
def test_overhead_compares_the_same_batches(bench_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "PAIRS", 5)
    monkeypatch.setattr(overhead, "ROUNDS", 2)
    table = overhead.measure_overhead(bench_data)
    assert [row[0] for row in table.rows] == ["Pruner", "bare OpenVINO calls on the same batches"]
    assert table.note.startswith("5 real pairs, ")


@pytest.mark.slow
def test_footprint_asks_the_service(bench_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "PAIRS", 10)
    monkeypatch.setattr(footprint, "REQUESTS", 3)
    monkeypatch.setattr(footprint, "PASSAGES", 2)
    table = footprint.measure_footprint(bench_data)
    assert len(table.rows) == 5
    assert table.rows[3][0] == "resident memory after 3 requests of 2 passages"
    assert all(row[1] for row in table.rows)
