from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import BenchTable
from secateur.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(["bench", *arguments]) or 0
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_options_reach_the_benchmark(
    bench_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measure(data: Path, options: object) -> BenchTable:
        seen.append((data, options))
        return BenchTable(["", "x"], [["a", "1"]], "Note.")

    monkeypatch.setattr("benchmarks.peers.measure_peers", measure)
    monkeypatch.setattr("benchmarks.http.measure_http", measure)
    from benchmarks.http import HttpOptions
    from benchmarks.peers import PeerOptions

    data = ("--data", str(bench_data))
    code, out, _ = run(capsys, "peers", *data, "--passages", "2,3", "--contestant", "bare-onnx", "--budget-s", "5")
    assert code == 0 and "| a | 1 |" in out
    assert run(capsys, "http", *data, "--clients", "1,2", "--rounds", "3")[0] == 0
    assert run(capsys, "peers", *data)[0] == 0
    assert seen == [
        (bench_data, PeerOptions(contestants=("bare-onnx",), passages=(2, 3), budget_s=5.0)),
        (bench_data, HttpOptions(clients=(1, 2), rounds=3)),
        (bench_data, PeerOptions()),
    ]


def test_an_option_of_another_benchmark_is_refused(bench_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "speed", "--data", str(bench_data), "--clients", "2")
    assert code != 0 and "--clients: does not go with `bench speed`" in err


def test_numbers_must_be_numbers(bench_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "peers", "--data", str(bench_data), "--passages", "ten")
    assert code == 2 and "--passages" in err
