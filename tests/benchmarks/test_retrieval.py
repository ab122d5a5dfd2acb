from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.retrieval import Cost, RetrievalOptions, make_workload, run_command, run_recall
from secateur.cli import main as secateur
from secateur.models.errors import DataError, InputError, SecateurError

NOUNS = ["tower", "whale", "bread", "tenant", "cat", "river", "engine", "violin"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "small.jsonl"
    path.parent.mkdir()
    rows = []
    for noun in NOUNS:
        text = f"Much has been written about the {noun}, and all of it before breakfast."
        other = f"The weather was fine when nobody thought of a {noun}."
        passages = [
            {"text": text, "relevant_spans": [[0, len(text)]], "relevant": True},
            {"text": other, "relevant_spans": [], "relevant": False},
        ]
        rows.append({"id": noun, "query": f"What has been written about the {noun}?", "passages": passages})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def test_the_corpus_is_filled_up_and_holds_the_gold(data: Path) -> None:
    work = make_workload(data, RetrievalOptions(chunks=60, queries=4))
    assert len(work.texts) == len(set(work.texts)) == 60
    assert len(work.queries) == 4
    for query, rows in zip(work.queries, work.gold, strict=True):
        (row,) = rows
        assert query.split()[-1].rstrip("?") in work.texts[row]
    assert make_workload(data, RetrievalOptions(chunks=60, queries=4)) == work


def test_workloads_that_cannot_be(data: Path) -> None:
    with pytest.raises(DataError, match="the queries have 16 passages"):
        make_workload(data, RetrievalOptions(chunks=10, queries=8))
    with pytest.raises(InputError, match="--chunks"):
        RetrievalOptions(chunks=0)


def test_recall_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("0 Q0 7 1 0.5 x\n0 Q0 8 2 0.4 x\n1 Q0 7 1 0.5 x\n")
    assert run_recall(tmp_path / "run", [{7, 9}, {7}, {1}]) == pytest.approx((0.5 + 1 + 0) / 3)


@pytest.mark.slow
def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SecateurError, match="`secateur data index` ended with code"):
        run_command("index", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "index"))


@pytest.mark.slow
def test_the_command(data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> Cost:
        """Run only the first step in a process of its own: each loads the libraries anew."""
        if arguments[0] == "ingest":
            return run_command(*arguments)
        assert secateur(["data", *arguments]) == 0
        return Cost(1.0, 2**20)

    monkeypatch.setattr("benchmarks.retrieval.run_command", run)
    assert main(["retrieval", "--data", str(data), "--chunks", "40", "--queries", "8"]) == 0
    out = capsys.readouterr().out
    for name in (
        "ingest 40 documents",
        "index 40 chunks",
        "retrieve by bm25",
        "retrieve by dense",
        "retrieve by fused",
    ):
        assert name in out
