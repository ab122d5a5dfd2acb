from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main

KEY = "a-key-that-is-written-nowhere"


def command(loopback: Any, data: Path, out: Path, *more: str) -> list[str]:
    base = ["eval", "rag", "--data", str(data), "--out", str(out), "--base-url", loopback.endpoint().base_url]
    return [*base, "--llm", "small", "--api-key-env", "LOOPBACK_KEY", *more]


def test_the_command_prints_the_table_and_writes_no_key(
    loopback: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_KEY", f"{KEY}\n")
    out = tmp_path / "out"
    more = ["--judge", "--judge-llm", "large", "--prices", "1", "2", "--limit", "2"]
    assert main(command(loopback, data, out, *more)) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("full", "pruned", "none"))
    written = [path.read_text(encoding="utf-8") for path in out.rglob("*") if path.is_file()]
    assert written
    assert not any(KEY in text for text in [printed, *written])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--extra", "[1]"], "--extra"),
        (["--extra", "{"], "--extra"),
        (["--prices", "-1", "2"], "prices.input"),
        (["--threshold", "7"], "threshold"),
        (["--concurrency", "0"], "concurrency"),
        (["--judge-base-url", "localhost"], "base_url"),
        (["--model", "no/such/model"], "no/such/model"),
    ],
)
def test_a_wrong_argument_is_a_one_line_error(
    loopback: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert main(command(loopback, data, tmp_path / "out", *more)) in (1, 2)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert said in message
