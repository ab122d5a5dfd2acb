"""What a terminal shows of a result."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import QUERY, TEXTS
from rich.console import Console

from secateur.cli import main
from secateur.cli.use import _show
from secateur.models.pruner import Pruner
from secateur.models.types import Passage


def shown(pruner: Pruner, passages: list[Passage], **options: Any) -> str:
    """Return what a colour terminal is sent."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, color_system="standard", no_color=False, width=80, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    _show(console, passages, pruner.prune(QUERY, passages, return_units=True, **options))
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
            assert main(["prune", "-q", QUERY, "--threshold", "1", "tower.txt"]) == 0
            out = os.read(master, 65536).decode()
    finally:
        os.close(master)
    assert "\x1b[2mIt is.\x1b[0m" in out
    assert "kept 0 of 2 units" in out
