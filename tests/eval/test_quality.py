from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.eval.quality import evaluate, write_report
from secateur.eval.tables import rewrite_block
from secateur.models.errors import DataError
from secateur.models.pruner import Pruner

README = "before\n<!-- quality:begin -->\nstale\n<!-- quality:end -->\nafter\n"


def write_source(directory: Path, name: str, relevant: bool) -> None:
    text = "It rained. Anna won the race. Cats sleep."
    passages = [
        {"text": text, "relevant_spans": [[11, 29]] if relevant else [], "relevant": relevant},
        {"text": "Bread is sold here.", "relevant_spans": [], "relevant": False},
    ]
    row = {"id": "1", "query": "Who won the race?", "passages": passages}
    (directory / f"{name}.jsonl").write_text(json.dumps(row), encoding="utf-8")


def test_the_report_follows_the_contract(pruner: Pruner, tmp_path: Path) -> None:
    write_source(tmp_path, "answered", relevant=True)
    write_source(tmp_path, "unanswerable", relevant=False)
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    metrics = evaluate(pruner, tmp_path)
    table = write_report(metrics, tmp_path / "out", [readme])
    system = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["systems"]["secateur"]
    assert set(system["sources"]) == {"answered", "unanswerable"}
    assert {"area", "mrr", "compression_at_retention", "queries"} <= set(system["macro"])
    assert "area" not in system["sources"]["unanswerable"]
    assert system["macro"]["area"] == system["sources"]["answered"]["area"]
    text = readme.read_text(encoding="utf-8")
    assert table in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text


def test_data_without_a_relevant_passage_is_an_error(pruner: Pruner, tmp_path: Path) -> None:
    write_source(tmp_path, "unanswerable", relevant=False)
    with pytest.raises(DataError, match="relevant"):
        evaluate(pruner, tmp_path)


def test_a_missing_directory_is_a_one_line_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_document_without_the_block_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="quality:begin"):
        rewrite_block(path, "quality", "x")


@pytest.mark.shared
def test_the_shipped_model_prunes_and_ranks_well(pruner: Pruner, shared_data: Path, tmp_path: Path) -> None:
    """Well under the published figures, so that it fails for a broken model and not for a small sample."""
    for name in ("squad_v1_train_part", "nq_oracle_litm", "covidqa_deepset"):
        (tmp_path / f"{name}.jsonl.gz").write_bytes((shared_data / "test" / f"{name}.jsonl.gz").read_bytes())
    macro = evaluate(pruner, tmp_path, limit=15)["systems"]["secateur"]["macro"]
    assert macro["area"] > 0.65
    assert macro["mrr"] > 0.8


@pytest.mark.shared
def test_the_area_agrees_with_the_cross_check(pruner: Pruner, shared_data: Path, tmp_path: Path) -> None:
    script = shared_data.parent / "tools" / "measure_pruner.py"
    (tmp_path / "tatqa_text.jsonl.gz").write_bytes((shared_data / "test" / "tatqa_text.jsonl.gz").read_bytes())
    command = [sys.executable, str(script), "secateur", str(tmp_path), "--n", "25"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = re.search(r"mrr=([\d.]+) auc=([\d.]+)", done.stdout)
    assert figures
    macro = evaluate(pruner, tmp_path, limit=25)["systems"]["secateur"]["macro"]
    assert macro["mrr"] == pytest.approx(float(figures[1]), abs=1e-3)
    assert macro["area"] == pytest.approx(float(figures[2]), abs=0.01)
