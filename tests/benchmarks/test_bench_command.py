from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.http import HttpOptions
from benchmarks.peers import PeerOptions
from benchmarks.tables import BenchTable


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = command.main([*arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, out + err


def test_options_reach_the_benchmark(
    bench_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measure(data: Path, options: object) -> BenchTable:
        seen.append((data, options))
        return BenchTable(["", "x"], [["a", "1"]], "Note.")

    for name, kind in (("peers", PeerOptions), ("http", HttpOptions)):
        monkeypatch.setitem(command.WITH_OPTIONS, name, (measure, kind))
    data = ("--data", str(bench_data))
    options = ("--passages", "2", "3", "--contestant", "bare-onnx", "--budget-s", "5")
    document = tmp_path / "a.md"
    document.write_text("<!-- bench-large:begin -->\n<!-- bench-large:end -->\n", encoding="utf-8")
    update = ("--update", str(document), "--block", "bench-large")
    code, out, _ = run(capsys, "peers", *data, *options, *update)
    assert code == 0 and "| a | 1 |" in out and "| a | 1 |" in document.read_text(encoding="utf-8")
    assert run(capsys, "http", *data, "--clients", "1", "2", "--rounds", "3")[0] == 0
    assert run(capsys, "peers", *data)[0] == 0
    assert seen == [
        (bench_data, PeerOptions(contestant=("bare-onnx",), passages=(2, 3), budget_s=5.0)),
        (bench_data, HttpOptions(clients=(1, 2), rounds=3)),
        (bench_data, PeerOptions()),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speed", "--clients", "2"], "--clients"),
        (["peers", "--passages", "ten"], "--passages"),
        (["peers", "--rounds", "0"], "--rounds"),
        (["bake"], "bake"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], said: str, bench_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *arguments, "--data", str(bench_data))
    assert code != 0 and said in err
