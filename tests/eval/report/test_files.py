from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secateur.eval.report import files, write_report
from secateur.models.errors import DataError


def write(out: Path, name: str, content: object) -> None:
    (out / name).write_text(json.dumps(content), encoding="utf-8")


def test_both_reports_are_written_and_nothing_else(
    metrics: dict[str, Any], worst: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path, "metrics.json", metrics)
    write(tmp_path, "worst.json", worst)
    write_report(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.json", "worst.json", "report.md", "report.html"}
    first = [(tmp_path / name).read_bytes() for name in ("report.md", "report.html")]
    assert first[0].startswith(b"# Evaluation of secateur\n")
    assert b"Worst losses" in first[1]
    write_report(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("report.md", "report.html")] == first


def test_worst_json_may_be_missing(metrics: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, "metrics.json", metrics)
    write_report(tmp_path)
    assert "Worst" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_failure_leaves_the_old_report(
    metrics: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "metrics.json", metrics)
    (tmp_path / "report.md").write_text("old", encoding="utf-8")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files, "render_html", lambda *_: "")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match=r"cannot be written \(disk full\)"):
        write_report(tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob("*.partial"))


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.json: does not exist; give"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"", b"[]", b"{}", b'{"systems": {}}', b'{"systems": [1]}'])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(DataError, match=r"metrics\.json: .*; (run|give|convert)"):
        write_report(tmp_path)
    assert not (tmp_path / "report.md").exists()


def _short_curve(metrics: dict[str, Any]) -> None:
    metrics["systems"]["bm25"]["macro"]["curve"] = [0.5] * 50


def _bad_counts(metrics: dict[str, Any]) -> None:
    metrics["systems"]["secateur"]["sources"]["tables"]["kept_counts"] = [[1, 2]]


def _bad_histogram(metrics: dict[str, Any]) -> None:
    metrics["systems"]["bm25"]["macro"]["histogram"]["gold"] = [1]


def _bad_grid(metrics: dict[str, Any]) -> None:
    metrics["needle"]["systems"]["secateur"]["grid"]["found"] = [[0.5, 0.5]]


def _bad_comparison(metrics: dict[str, Any]) -> None:
    del metrics["comparisons"][0]["scope"]


def _bad_variant(metrics: dict[str, Any]) -> None:
    metrics["robustness"]["systems"]["secateur"]["typos"] = 3


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_short_curve, r"systems\.bm25\.macro\.curve: .* a list of 51"),
        (_bad_counts, r"systems\.secateur\.sources\.tables\.kept_counts: "),
        (_bad_histogram, r"systems\.bm25\.macro\.histogram\.gold: .* a list of 20"),
        (_bad_grid, r"needle\.systems\.secateur\.grid\.found: .* a list of 3"),
        (_bad_comparison, r"comparisons\[0\]\.scope: is None and must be a text"),
        (_bad_variant, r"robustness\.systems\.secateur\.typos: is 3 and must be an object"),
    ],
)
def test_an_unknown_shape_is_named(
    metrics: dict[str, Any], tmp_path: Path, spoil: Callable[[dict[str, Any]], None], name: str
) -> None:
    spoil(metrics)
    write(tmp_path, "metrics.json", metrics)
    with pytest.raises(DataError, match=name):
        write_report(tmp_path)


@pytest.mark.parametrize("content", [[], {"losses": []}, {"losses": [{"units": [{"text": 1}]}], "keeps": []}])
def test_garbage_in_worst_json_is_refused(metrics: dict[str, Any], tmp_path: Path, content: object) -> None:
    write(tmp_path, "metrics.json", metrics)
    write(tmp_path, "worst.json", content)
    with pytest.raises(DataError, match=r"worst\.json: .*must be"):
        write_report(tmp_path)
