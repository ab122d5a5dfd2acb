from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.eval.collections import load_collection, read_qrels, read_run, read_texts
from secateur.eval.reranking import RerankOptions, bm25_run, rerank
from secateur.models.errors import DataError, InputError

DOCUMENTS = {
    "d1": "The Eiffel Tower was completed in March 1889. It stands in Paris.",
    "d2": "The tower of Pisa leans. It was finished late.",
    "d3": "Bread is baked in the morning. The shop opens at six.",
}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    directory = tmp_path / "beir"
    (directory / "qrels").mkdir(parents=True)
    corpus = [{"_id": name, "title": "", "text": text} for name, text in DOCUMENTS.items()]
    queries = [
        {"_id": "q1", "text": "When was the Eiffel Tower finished?"},
        {"_id": "q2", "text": "When is bread baked?"},
    ]
    for name, rows in (("corpus", corpus), ("queries", [*queries, {"_id": "q3", "text": "Unjudged?"}])):
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t2\nq2\td2\t0\n"
    (directory / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "first.trec"
    lines = ["q1 Q0 d3 1 9.0 x", "q1 Q0 d1 2 8.0 x", "q1 Q0 d2 3 8.0 x", "q2 Q0 d1 1 2 x", "q2 Q0 d3 2 1 x"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_beir_directory_is_read(beir: Path) -> None:
    found = load_collection(beir=beir)
    assert set(found.queries) == {"q1", "q2"}
    assert found.qrels["q2"] == {"d3": 2, "d2": 0}
    assert found.documents["d1"].text == DOCUMENTS["d1"]


def test_a_trec_collection_is_read(beir: Path, run: Path, tmp_path: Path) -> None:
    tsv = tmp_path / "collection.tsv"
    tsv.write_text("\n".join(f"{name}\t{text}" for name, text in DOCUMENTS.items()), encoding="utf-8")
    queries = tmp_path / "queries.tsv"
    queries.write_text("q1\tWhen was the Eiffel Tower finished?\n", encoding="utf-8")
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q1 0 d1 3\nq1 0 d2 0\n", encoding="utf-8")
    found = load_collection(collection=tsv, queries=queries, qrels=qrels, run=run)
    assert found.run["q1"] == ["d3", "d1", "d2"]
    assert found.qrels == {"q1": {"d1": 3, "d2": 0}}


@pytest.mark.slow
def test_reranking_puts_the_answer_first_and_goes_on_after_a_kill(beir: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = rerank(load_collection(beir=beir, run=run), out)
    assert report["first stage"]["mrr"]["value"] == pytest.approx(0.5)
    assert report["reranked"]["mrr"]["value"] == 1.0
    assert report["difference"]["mrr"]["difference"] == pytest.approx(0.5)
    assert 0 < report["pruning"]["compression"] < 1
    assert read_run(out / "rerank.trec")["q1"][0] == "d1"
    rows = (out / "rerank.jsonl").read_text(encoding="utf-8").splitlines()
    changed = json.loads(rows[1]) | {"input_tokens": 1000}
    (out / "rerank.jsonl").write_text(f"{rows[0]}\n{json.dumps(changed)}\n{rows[2][:20]}", encoding="utf-8")
    again = rerank(load_collection(beir=beir, run=run), out)
    assert again["pruning"]["input_tokens"] > 1000  # the first query's row was taken as it stood
    assert again["reranked"] == report["reranked"]


def test_documents_beyond_the_depth_keep_their_order(beir: Path, run: Path, tmp_path: Path) -> None:
    report = rerank(load_collection(beir=beir, run=run), tmp_path / "out", RerankOptions(depth=1))
    assert report["reranked"] == report["first stage"]


def test_without_a_run_bm25_ranks_first(beir: Path) -> None:
    ranking = bm25_run(load_collection(beir=beir), ["q1", "q2"], depth=2)
    assert set(ranking["q1"]) == {"d1", "d2"}
    assert ranking["q2"][0] == "d3"
    assert all(len(found) == 2 for found in ranking.values())


def test_the_command_prints_the_table(beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "rerank", "--beir", str(beir), "--out", str(tmp_path / "out")]) == 0
    assert "| reranked | 1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "read", "said"),
    [
        ("c.tsv", "d1 no tab", read_texts, "line 1"),
        ("c.jsonl", '{"_id": "1"}', read_texts, "line 1.*text"),
        ("c.tsv", "d\ta\nd\tb", read_texts, "line 2: id 'd' is a duplicate"),
        ("c.tsv", "", read_texts, "is empty"),
        ("q.txt", "q1 0 d1", read_qrels, "line 1.*grade"),
        ("q.txt", "q1 d1", read_qrels, "line 1.*grade"),
        ("r.trec", "q1 Q0 d1 1 high x", read_run, "line 1"),
        ("r.trec", "q1 d1 1", read_run, "line 1.*score"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, text: str, read: object, said: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read(path)  # type: ignore[operator]


def test_parts_that_do_not_belong_together_are_named(beir: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--collection"):
        load_collection(run=run)
    other = tmp_path / "other.txt"
    other.write_text("q9 0 d1 1\n", encoding="utf-8")
    with pytest.raises(DataError, match="with a relevant document"):
        load_collection(beir=beir, qrels=other)
    other.write_text("q1 Q0 d9 1 1 x\n", encoding="utf-8")
    with pytest.raises(DataError, match="'d9'"):
        load_collection(beir=beir, run=other)
