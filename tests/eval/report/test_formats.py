"""The sections of text that is not prose, in all forms of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from secateur.eval.report.formats import lines_section, structure_section
from secateur.eval.report.html import render_html
from secateur.eval.report.markdown import render_markdown
from secateur.eval.run import RunOptions, evaluate

LOG = "".join(f"{number} step of the job\n" for number in range(9)) + "9 failed: disk full\n"
PAGE = "# Job\n\n| step | result |\n| --- | --- |\n| copy | done |\n| write | disk full |\n"


def write(path: Path, text: str, format: str, answer: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    start = text.index(answer)
    passage = {"text": text, "format": format, "relevant_spans": [[start, start + len(answer)]], "relevant": True}
    row = {"id": "1", "query": "Why did it fail, was the disk full?", "passages": [passage]}
    path.write_text(json.dumps(row), encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("data")
    write(data / "test" / "plain.jsonl", "It rained. The disk was full. Cats sleep.", "text", "The disk was full.")
    write(data / "docs" / "test" / "pages.jsonl", PAGE, "markdown", "| write | disk full |")
    write(data / "lines" / "test" / "logs.jsonl", LOG, "lines", "9 failed: disk full")
    paths = [data / "test", data / "docs" / "test", data / "lines" / "test"]
    return evaluate(paths, data / "out", RunOptions(("secateur", "random")))


def test_groups_have_averages_of_their_own(run: dict[str, Any]) -> None:
    assert run["groups"] == {"prose": ["plain"], "docs": ["pages"], "lines": ["logs"]}
    assert run["setup"]["data"] == "test, docs/test, lines/test"
    system = run["systems"]["secateur"]
    for group, source in (("prose", "plain"), ("docs", "pages"), ("lines", "logs")):
        assert system["groups"][group]["area"] == pytest.approx(system["sources"][source]["area"])
        assert system["groups"][group]["queries"] == 1
    mean = sum(system["groups"][group]["area"] for group in system["groups"]) / 3
    assert system["macro"]["area"] == pytest.approx(mean)
    scopes = [row["scope"] for row in run["comparisons"] if row["figure"] == "area"]
    assert scopes[:4] == ["macro", "macro prose", "macro docs", "macro lines"]


def test_gold_lines_are_reported_beside_the_baselines(run: dict[str, Any]) -> None:
    assert run["systems"]["secateur"]["sources"]["logs"]["line_recall"] == {"0.50": 1.0, "0.70": 1.0, "0.90": 1.0}
    assert "line_recall" not in run["systems"]["secateur"]["sources"]["pages"]
    section = lines_section(run)
    assert section is not None
    overall, by_source = section.tables
    assert [row[0] for row in overall.rows] == ["secateur", "random", "bm25", "random order"]
    assert overall.header == ["system", "50% dropped", "70% dropped", "90% dropped"]
    assert [row[0] for row in by_source.rows] == ["logs", "macro lines", "macro"]
    assert by_source.rows[0][1:3] == ["1.000", "1.000"]  # secateur and bm25 at 50%


def test_what_still_reads_is_reported_by_group(run: dict[str, Any]) -> None:
    counts = run["structure"]["secateur"]["pages"]
    assert counts["rows"][0] == counts["rows"][2] > 0
    section = structure_section(run)
    assert section is not None
    (table,) = section.tables
    assert table.header == ["group", "what", "count", "without keep_structure", "with it"]
    assert {row[0] for row in table.rows} == {"docs", "lines"}
    assert [row[-1] for row in table.rows if row[1] == "table rows with their header"] == ["1.000"]


def test_counts_are_added_over_the_sources_of_a_group() -> None:
    metrics = {
        "systems": {"secateur": {}},
        "structure": {"secateur": {"a": {"rows": [2, 0, 2]}, "b": {"rows": [6, 2, 4]}, "c": {"code": [4, 1, 4]}}},
    }
    section = structure_section(metrics)
    assert section is not None
    assert section.tables[0].rows == [
        ["table rows with their header", "8", "0.250", "0.750"],
        ["code with its enclosing signature", "4", "0.250", "1.000"],
    ]


def test_every_form_of_the_report_has_the_sections(run: dict[str, Any]) -> None:
    markdown, page = render_markdown(run), render_html(run)
    for text in ("Gold lines", "What is kept still reads", "without keep_structure", "random order", "macro docs"):
        assert text in markdown
        assert text in page


def test_prose_alone_has_no_such_section(metrics: dict[str, Any]) -> None:
    assert lines_section(metrics) is None
    assert structure_section(metrics) is None
