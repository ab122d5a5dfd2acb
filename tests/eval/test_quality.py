from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main
from secateur.eval.documents import update_document
from secateur.eval.run import RunOptions, evaluate
from secateur.eval.significance import compare_runs, paired
from secateur.models.errors import DataError, InputError

Write = Callable[..., None]
README = "before\n<!-- quality:begin -->\nstale\n<!-- quality:end -->\nafter\n"


@pytest.fixture(scope="module")
def run(write_source: Write, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A run with every kind of system on two sources: (data, out, metrics)."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "first"
    write_source(data, "answered", True)
    write_source(data, "unanswerable", False)
    options = RunOptions(("secateur", "bm25", "lead", "random", "full"))
    return data, out, evaluate(data, out, options)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs whose reports no test reads: plots take most of the time of a small run."""
    monkeypatch.setattr("secateur.eval.run.render_html", lambda metrics, worst: "")
    monkeypatch.setattr("secateur.eval.run.retention_plot", lambda metrics: "")


@pytest.mark.slow
def test_the_metrics_follow_the_contract(run: tuple[Path, Path, dict[str, Any]]) -> None:
    _, out, metrics = run
    written = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(metrics))
    assert list(written["systems"]) == ["secateur", "bm25", "lead", "random", "full"]
    for system in written["systems"].values():
        assert {"area", "mrr", "compression_at_retention", "queries"} <= set(system["macro"])
        assert set(system["macro"]["compression_at_retention"]) == {"0.90", "0.95", "0.98", "0.99"}
        assert set(system["sources"]) == {"answered", "unanswerable"}
        assert "area" not in system["sources"]["unanswerable"]
        assert system["macro"]["area"] == pytest.approx(system["sources"]["answered"]["area"])
        assert len(system["macro"]["curve"]) == 51
        assert sum(system["macro"]["curve"]) / 51 == pytest.approx(system["macro"]["area"], abs=1e-4)
    assert written["systems"]["full"]["macro"]["area"] == 0
    assert written["systems"]["full"]["macro"]["default"]["retention"] == 1
    assert written["systems"]["lead"]["macro"]["mrr"] is None
    assert written["skipped"] == {"unanswerable": {"query of a source without relevant passages (compression only)": 3}}


def test_the_first_system_is_compared_with_each_other(run: tuple[Path, Path, dict[str, Any]]) -> None:
    metrics = run[2]
    (against_lead,) = [
        row for row in metrics["comparisons"] if (row["b"], row["figure"], row["scope"]) == ("lead", "area", "macro")
    ]
    systems = metrics["systems"]
    assert against_lead["difference"] == pytest.approx(
        systems["secateur"]["macro"]["area"] - systems["lead"]["macro"]["area"]
    )
    low, high = against_lead["interval"]
    assert low <= against_lead["difference"] <= high


def test_a_run_is_written_whole(run: tuple[Path, Path, dict[str, Any]]) -> None:
    out = run[1]
    names = {path.name for path in out.iterdir()}
    assert names == {
        "metrics.json",
        "worst.json",
        "report.md",
        "report.html",
        "bootstrap.npz",
        "retention.svg",
        "scores",
    }
    worst = json.loads((out / "worst.json").read_text(encoding="utf-8"))
    assert worst["system"] == "secateur"
    for case in worst["keeps"]:
        assert any(unit["kept"] and not unit["gold"] for unit in case["units"])


@pytest.mark.slow
def test_text_that_cannot_be_encoded_is_written(write_source: Write, tmp_path: Path) -> None:
    write_source(tmp_path, "answered", True)
    path = tmp_path / "answered.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("It rained.", "It \\ud800 rained."), encoding="utf-8")
    shifted = path.read_text(encoding="utf-8").replace("[11, 29]", "[13, 31]")
    path.write_text(shifted, encoding="utf-8")
    metrics = evaluate(path, tmp_path / "out", RunOptions(("secateur",)))
    assert metrics["skipped"] == {"answered": {"lone surrogates, read as U+FFFD": 3}}
    assert (tmp_path / "out" / "worst.json").is_file()
    assert "\ud800" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_plots")
def test_the_same_run_again_scores_nothing_and_says_the_same(
    run: tuple[Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, metrics = run
    monkeypatch.setattr("secateur.eval.systems.pruners._results", None)
    monkeypatch.setattr("secateur.eval.systems.baselines.Baseline.score_units", None)
    again = evaluate(data, out, RunOptions(("secateur", "bm25", "lead", "random", "full")))
    assert json.dumps(again) == json.dumps(metrics)


@pytest.mark.usefixtures("no_plots")
def test_two_runs_are_compared_pair_by_pair(
    run: tuple[Path, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, first, metrics = run
    second = tmp_path / "second"
    evaluate(data, second, RunOptions(("lead",)))
    rows = paired(first, second)
    area = next(row for row in rows if (row.figure, row.scope) == ("area", "macro"))
    (known,) = [
        row for row in metrics["comparisons"] if (row["b"], row["figure"], row["scope"]) == ("lead", "area", "macro")
    ]
    assert area.difference == pytest.approx(-known["difference"], abs=1e-5)
    assert (area.low, area.high) == pytest.approx((-known["interval"][1], -known["interval"][0]), abs=1e-5)
    assert main(["eval", "compare", str(first), str(second), "--system-a", "lead"]) == 0
    assert "no significant change" in capsys.readouterr().out


@pytest.mark.usefixtures("no_plots")
def test_runs_on_other_data_cannot_be_compared(
    run: tuple[Path, Path, dict[str, Any]], write_source: Write, tmp_path: Path
) -> None:
    write_source(tmp_path, "answered", True, queries=5)
    evaluate(tmp_path, tmp_path / "out", RunOptions(("lead",)))
    with pytest.raises(DataError, match="no source in common"):
        paired(run[1], tmp_path / "out")
    with pytest.raises(DataError, match="has no system 'tfidf'"):
        compare_runs(run[1], run[1], "tfidf", None)
    with pytest.raises(DataError, match="is not the directory of a finished run"):
        paired(run[1], tmp_path)


def test_documents_get_the_tables_that_they_have_blocks_for(
    run: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    update_document(str(readme), run[2])
    text = readme.read_text(encoding="utf-8")
    area = run[2]["systems"]["secateur"]["macro"]["area"]
    assert f"| **macro** | 3 | {area:.3f} |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text


def test_one_block_can_be_rewritten_alone(run: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README + README.replace("quality", "systems"), encoding="utf-8")
    update_document(f"{readme}:systems", run[2])
    text = readme.read_text(encoding="utf-8")
    assert "<!-- quality:begin -->\nstale\n<!-- quality:end -->" in text
    assert "secateur's gain in area" in text


def test_a_run_without_titles_has_blocks_of_its_own(run: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    untitled = evaluate(run[0], None, RunOptions(("lead",), titles=False))
    readme = tmp_path / "README.md"
    readme.write_text(README + README.replace("quality", "quality-untitled"), encoding="utf-8")
    update_document(str(readme), untitled)
    text = readme.read_text(encoding="utf-8")
    assert "<!-- quality:begin -->\nstale\n<!-- quality:end -->" in text
    assert text.count("| **macro** | 3 |") == 1
    update_document(f"{readme}:quality", run[2])
    assert "stale" not in readme.read_text(encoding="utf-8")
    with pytest.raises(DataError, match=r"showed titles; its blocks are \['quality', "):
        update_document(f"{readme}:quality-untitled", run[2])


def test_a_document_without_a_block_is_an_error(run: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="quality:begin"):
        update_document(str(path), run[2])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval"], "--data"),
        (["eval", "--data", "no/such"], "no such file"),
        (["eval", "--data", ".", "--system", "bm26"], "bm26"),
        (["eval", "--data", ".", "--system", "lead", "--system", "lead"], "named twice"),
        (["eval", "--data", ".", "--limit", "0"], "limit"),
        (["eval", "compare", "no/a", "no/b"], "no/a"),
    ],
)
def test_wrong_arguments_are_a_one_line_error(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], write_source: Write, tmp_path: Path
) -> None:
    write_source(tmp_path, "a", True)
    assert main([str(tmp_path) if one == "." else one for one in arguments]) in (1, 2)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert said in message


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="limit"):
        RunOptions(limit=0)


@pytest.mark.slow
@pytest.mark.shared
def test_the_shipped_model_prunes_and_ranks_well(shared_data: Path, tmp_path: Path) -> None:
    """Well under the published figures, so that it fails for a broken model and not for a small sample."""
    for name in ("squad_v1_train_part", "nq_oracle_litm", "covidqa_deepset"):
        (tmp_path / f"{name}.jsonl.gz").write_bytes((shared_data / "test" / f"{name}.jsonl.gz").read_bytes())
    macro = evaluate(tmp_path, options=RunOptions(limit=5))["systems"]["secateur"]["macro"]
    assert macro["area"] > 0.65
    assert macro["mrr"] > 0.8


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("system", ["secateur", "bm25"])
def test_the_area_agrees_with_the_cross_check(system: str, shared_data: Path, tmp_path: Path) -> None:
    script = shared_data.parent / "tools" / "measure_pruner.py"
    (tmp_path / "tatqa_text.jsonl.gz").write_bytes((shared_data / "test" / "tatqa_text.jsonl.gz").read_bytes())
    command = [sys.executable, str(script), system, str(tmp_path), "--n", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"mrr=([\d.]+) auc=([\d.]+)", done.stdout)
    assert found
    macro = evaluate(tmp_path, options=RunOptions((system,), limit=6))["systems"][system]["macro"]
    assert macro["area"] == pytest.approx(float(found[2]), abs=0.01)
    if system == "secateur":
        assert macro["mrr"] == pytest.approx(float(found[1]), abs=1e-3)
