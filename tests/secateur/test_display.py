"""What a terminal shows of a result."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import QUERY, TEXTS
from rich.console import Console

from secateur.cli import main
from secateur.cli.display import show
from secateur.models.pruner import Pruner
from secateur.models.types import Passage


def shown(pruner: Pruner, passages: list[Passage], **options: Any) -> str:
    """Return what a colour terminal is sent."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, color_system="standard", no_color=False, width=80, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    show(console, passages, pruner.prune(QUERY, passages, return_units=True, **options))
    return out.getvalue()


def test_kept_text_is_plain_and_dropped_text_dimmed_with_scores(pruner: Pruner, threshold: float) -> None:
    passages = [Passage(text, id=name) for name, text in TEXTS.items()]
    out = shown(pruner, passages, threshold=threshold)
    result = pruner.prune(QUERY, passages, threshold=threshold, return_units=True)
    kinds = set()
    for item in result.results:
        for unit in item.units or ():
            body = passages[item.index].text[unit.start : unit.end].strip()
            assert body in out
            assert (f"\x1b[2m{body}\x1b[0m" in out) is not unit.kept
            colour = "32" if unit.kept else "2;31"
            assert f"\x1b[{colour}m {unit.score:.2f}\x1b[0m" in out
            kinds.add(unit.kept)
    assert kinds == {True, False}


def test_every_passage_has_a_header_and_the_end_says_what_was_saved(pruner: Pruner) -> None:
    passages = [Passage("It is. It was.", id="guide"), Passage("No.")]
    out = shown(pruner, passages, threshold=1.0, min_units=1)
    result = pruner.prune(QUERY, passages, threshold=1.0, min_units=1)
    guide, other = sorted(result.results, key=lambda item: item.index)
    assert f"guide\x1b[0m\x1b[1;36m  relevance {guide.score:.2f}  kept 1 of 2 units" in out
    assert f"passage 1\x1b[0m\x1b[1;36m  relevance {other.score:.2f}  kept 1 of 1 units" in out
    usage = result.usage
    saved = f"{usage.input_tokens} tokens in, {usage.output_tokens} out: {usage.compression:.0%} dropped\n"
    assert out.endswith(saved)


def test_lines_are_numbered_and_say_why_they_are_kept(pruner: Pruner) -> None:
    log = "\r\n".join(f"2024-05-01 12:00:{second:02} INFO step {second}" for second in range(1, 10))
    text = f"{log}\r\n\r\n2024-05-01 12:00:10 ERROR disk full"
    options: dict[str, Any] = {"threshold": 1.0, "keep_relevant": False, "always_keep": ["errors"]}
    out = shown(pruner, [Passage(text)], **options)
    (result,) = pruner.prune(QUERY, [text], return_units=True, **options).results
    first, *_, last = result.units or ()
    dimmed = "\x1b[2;36m 1 \x1b[0m\x1b[2m2024-05-01 12:00:01 INFO step 1\x1b[0m"
    assert f"\n{dimmed}\x1b[2;31m {first.score:.2f}\x1b[0m\n" in out
    assert "\n\x1b[2;36m10 \x1b[0m\n" in out
    assert f"\n\x1b[36m11 \x1b[0m2024-05-01 12:00:10 ERROR disk full\x1b[32m {last.score:.2f} always\x1b[0m\n" in out
    assert result.line_spans == ((11, 11),)
    prose = shown(pruner, [Passage(text, format="text")], **options)
    assert "\x1b[2;36m 1 " not in prose


def test_markup_of_html_has_no_score(pruner: Pruner) -> None:
    page = "<html><script>let a = 1;</script><p>It was finished in 1889.</p></html>"
    out = shown(pruner, [Passage(page)], threshold=0.0)
    (result,) = pruner.prune(QUERY, [page], return_units=True, threshold=0.0).results
    (score,) = (unit.score for unit in result.units or () if unit.kind != "markup")
    dimmed = "".join(f"\x1b[2m{piece}\x1b[0m" for piece in ("<script>", "let a = 1;", "</script>"))
    assert f"\n<html>{dimmed}<p>It was finished in 1889.\x1b[32m {score:.2f}\x1b[0m </p></html>\n" in out


def test_markup_in_a_passage_is_text(pruner: Pruner) -> None:
    out = shown(pruner, [Passage("The [red]tag[/red] :smile: stays [/]. End.", id="[bold]")], threshold=0.0)
    assert "The [red]tag[/red] :smile: stays [/]." in out
    assert "[bold]" in out


def test_a_real_terminal_gets_the_coloured_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    (tmp_path / "tower.txt").write_text("It is. It was.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    master, slave = pty.openpty()
    try:
        with os.fdopen(slave, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            with pytest.raises(SystemExit) as end:
                main(["prune", "-q", QUERY, "--threshold", "1", "tower.txt"])
        written = b""
        with suppress(OSError):  # at the end, since nothing has the terminal open any more
            while piece := os.read(master, 65536):
                written += piece
    finally:
        os.close(master)
    out = written.decode()
    assert end.value.code == 3
    assert "\x1b[2mIt is.\x1b[0m" in out
    assert "kept 0 of 2 units" in out
