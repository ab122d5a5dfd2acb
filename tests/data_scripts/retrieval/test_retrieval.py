from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.cli import main
from secateur.data_scripts.records import Candidate, Candidates, Chunk, Pair, Query, read_records
from secateur.data_scripts.retrieval.dense import DenseIndex, DenseOptions, build, chosen_kind
from secateur.data_scripts.retrieval.index import build_index, open_index
from secateur.data_scripts.retrieval.negatives import Band, PairOptions, make_pairs, parse_bands
from secateur.data_scripts.retrieval.ranking import Ranking, fuse, rocchio, top
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions, retrieve, search
from secateur.labelled.examples import read_examples
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, ModelError
from secateur.models.segmentation import FORMATS

TEXTS = [
    ("Whales", "Whales are the largest animals that live in the ocean."),
    ("Bread", "Bread dough is made from flour, water, salt and yeast."),
    ("", "The Eiffel Tower was completed in March 1889 in Paris."),
    ("Cats", "A cat sleeps for most of the day."),
    ("Law", "The tenant pays the rent on the first day of each month."),
]
SMALL = DenseOptions(shard=2)


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chunks") / "chunks.jsonl"
    rows = [Chunk(f"c{i}", f"d{i}", text, title, 0, len(text)) for i, (title, text) in enumerate(TEXTS)]
    write_json_lines(path, rows)
    return path


@pytest.fixture(scope="module")
def directory(chunks: Path) -> Path:
    build_index(chunks, chunks.parent / "index", SMALL)
    return chunks.parent / "index"


def first(directory: Path, query: str, **options: Any) -> str:
    index = open_index(directory)
    (ranking,) = search(index, [query], RetrieveOptions(**options))
    return index.chunks[int(ranking.rows[0])].id


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bm25", "dense", "fused"])
def test_each_way_finds_the_passage(directory: Path, method: str) -> None:
    assert first(directory, "When was the Eiffel Tower completed?", method=method) == "c2"
    assert first(directory, "what is bread dough made of", method=method) == "c1"


def test_dense_finds_what_shares_no_word(directory: Path) -> None:
    assert first(directory, "biggest creature of the sea", method="dense") == "c0"
    index = open_index(directory)
    assert search(index, ["größte Kreatur"], RetrieveOptions(method="bm25"))[0].rows.size == 0


def test_a_title_is_read(directory: Path) -> None:
    assert first(directory, "law", method="bm25") == "c4"


def test_feedback_moves_the_query(directory: Path) -> None:
    index = open_index(directory)
    plain = search(index, ["sea"], RetrieveOptions(method="dense"))[0]
    moved = search(index, ["sea"], RetrieveOptions(method="dense", feedback=1))[0]
    assert moved.rows[0] == plain.rows[0]
    assert moved.scores[0] > plain.scores[0]


def test_rocchio_is_the_weighted_mean() -> None:
    query, found = np.array([1, 0], dtype=np.float32), np.array([[0, 1], [0, 1]], dtype=np.float32)
    assert rocchio(query, found, 1.0, 1.0) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert rocchio(query, found, 1.0, 0.0) == pytest.approx([1, 0])


def test_fusion_is_that_of_the_paper() -> None:
    a = Ranking(np.array([5, 7]), np.array([9, 8], dtype=np.float32))
    b = Ranking(np.array([7, 2]), np.array([0.3, 0.1], dtype=np.float32))
    fused = fuse([a, b], 10)
    assert fused.rows.tolist() == [7, 5, 2]
    assert fused.scores == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_ties_stand_by_row() -> None:
    assert top(np.array([1, 3, 1, 1], dtype=np.float32), 3).rows.tolist() == [1, 0, 2]
    assert top(np.empty(0, dtype=np.float32), 3).rows.size == 0


def random_index(directory: Path, kind: Any, rows: int) -> DenseIndex:
    (directory / "vectors").mkdir()
    vectors = np.random.default_rng(0).normal(size=(rows, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, rows, 700):
        np.save(directory / "vectors" / f"{start // 700:06}.npy", vectors[start : start + 700])
    build(directory, rows, kind)
    return DenseIndex(directory, DenseOptions(kind=kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_every_kind_of_index_finds_a_vector_itself(tmp_path: Path, kind: str) -> None:
    index = random_index(tmp_path, kind, 2500)
    rows = [0, 699, 700, 2499]
    found = index.search(index.vectors(rows), 5)
    assert [int(ranking.rows[0]) for ranking in found] == rows
    assert [ranking.scores[0] for ranking in found] == pytest.approx([1.0] * 4, abs=1e-5)
    assert all(len(ranking.rows) == 5 for ranking in found)


def test_parts_are_searched_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.data_scripts.retrieval import dense

    (tmp_path / "whole").mkdir()
    whole = random_index(tmp_path / "whole", "flat", 2500)
    monkeypatch.setattr(dense, "_PART_ROWS", 1000)
    (tmp_path / "parts").mkdir()
    parts = random_index(tmp_path / "parts", "flat", 2500)
    assert len(list((tmp_path / "parts" / "faiss").iterdir())) == 2
    queries = np.random.default_rng(1).normal(size=(9, 384)).astype(np.float32)
    for a, b in zip(whole.search(queries, 20), parts.search(queries, 20), strict=True):
        assert a.rows.tolist() == b.rows.tolist()


def test_the_kind_is_chosen_by_size() -> None:
    assert [chosen_kind(rows) for rows in (10, 100_001, 2_000_000)] == ["flat", "hnsw", "ivf"]
    assert chosen_kind(10, "ivf") == "ivf"


def test_an_index_that_is_up_to_date_is_left_alone(chunks: Path, directory: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    build_index(chunks, directory, SMALL)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()} == before


def test_other_chunks_make_another_index(chunks: Path, tmp_path: Path) -> None:
    build_index(chunks, tmp_path / "index", SMALL, dense=False)
    write_json_lines(tmp_path / "other.jsonl", [Chunk("x", "d", "Rain falls in autumn.")])
    manifest = build_index(tmp_path / "other.jsonl", tmp_path / "index", SMALL, dense=False)
    assert manifest["rows"] == 1
    assert first(tmp_path / "index", "rain", method="bm25") == "x"


@pytest.mark.slow
def test_a_killed_run_goes_on_behind_its_last_shard(chunks: Path, directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    command = [sys.executable, "-m", "secateur", "data", "index", str(chunks), "--out", str(out), "--shard", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = out / "vectors" / "000000.npy"
    deadline = time.monotonic() + 300
    while not done.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (out / "index.json").unlink(missing_ok=True)  # it may have been faster than we
    stamp = done.stat().st_mtime_ns
    build_index(chunks, out, SMALL)
    assert done.stat().st_mtime_ns == stamp
    for path in sorted((directory / "vectors").iterdir()):
        assert np.allclose(np.load(path), np.load(out / "vectors" / path.name), atol=1e-6)
    assert first(out, "When was the Eiffel Tower completed?") == "c2"


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "holds no chunk"), ([Chunk("a", "d", "x"), Chunk("a", "d", "y")], "duplicate id 'a'")],
)
def test_chunks_that_cannot_be_indexed(tmp_path: Path, rows: list[Chunk], message: str) -> None:
    write_json_lines(tmp_path / "chunks.jsonl", rows)
    with pytest.raises(DataError, match=message):
        build_index(tmp_path / "chunks.jsonl", tmp_path / "index", SMALL, dense=False)


def test_a_directory_of_something_else_is_not_overwritten(chunks: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is neither empty nor an index"):
        build_index(chunks, tmp_path, SMALL, dense=False)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_cannot_be_searched(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an index"):
        open_index(tmp_path)
    build_index(chunks, tmp_path / "bm25", SMALL, dense=False)
    with pytest.raises(DataError, match="the index has no dense part"):
        search(open_index(tmp_path / "bm25"), ["x"], RetrieveOptions())
    with pytest.raises(ModelError, match="embedder: no directory"):
        build_index(chunks, tmp_path / "none", DenseOptions(embedder=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is not a sentence-transformers model"):
        build_index(chunks, tmp_path / "none", DenseOptions(embedder=tmp_path / "empty"))


def test_candidates_and_their_trec_run(directory: Path, tmp_path: Path) -> None:
    queries = [Query("q 1", "When was the tower completed?", "c2", answers=("1889",)), Query("q2", "cat")]
    write_json_lines(tmp_path / "queries.jsonl", queries)
    count = retrieve(
        tmp_path / "queries.jsonl", directory, tmp_path / "out.jsonl", RetrieveOptions(k=3), tmp_path / "run.trec"
    )
    one, two = read_records(tmp_path / "out.jsonl", Candidates)
    assert (count, one.chunk_id, one.answers, len(one.passages)) == (2, "c2", ("1889",), 3)
    assert one.passages[0].text == TEXTS[2][1]
    assert [passage.rank for passage in two.passages] == [1, 2, 3]
    lines = (tmp_path / "run.trec").read_text().splitlines()
    assert len(lines) == 6
    assert lines[0].split()[:4] == ["q_1", "Q0", "c2", "1"]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([Query("a", " ")], "query 'a' is blank"),
        ([Query("a", "x"), Query("a", "y")], "duplicate id 'a'"),
        ([Query("a", "größte Kreatur")], "no query finds a passage"),
    ],
)
def test_queries_that_find_nothing(directory: Path, tmp_path: Path, queries: list[Query], message: str) -> None:
    write_json_lines(tmp_path / "queries.jsonl", queries)
    with pytest.raises(DataError, match=message):
        retrieve(tmp_path / "queries.jsonl", directory, tmp_path / "out.jsonl", RetrieveOptions(method="bm25"))


def test_a_chunks_format_reaches_its_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "by_line", lambda text, segmenter: [])
    write_json_lines(tmp_path / "chunks.jsonl", [Chunk("a", "d", "Rain falls.", format="by_line")])
    write_json_lines(tmp_path / "queries.jsonl", [Query("q", "rain")])
    build_index(tmp_path / "chunks.jsonl", tmp_path / "index", SMALL, dense=False)
    options = RetrieveOptions(method="bm25")
    retrieve(tmp_path / "queries.jsonl", tmp_path / "index", tmp_path / "found.jsonl", options)
    make_pairs(tmp_path / "found.jsonl", tmp_path / "pairs.jsonl", PairOptions())
    assert [pair.format for pair in read_records(tmp_path / "pairs.jsonl", Pair)] == ["by_line"]


def candidates(scores: dict[int, float] | None = None, own: str | None = None) -> Candidates:
    passages = [Candidate(f"c{i}", f"text {i}", rank=i, teacher_score=(scores or {}).get(i)) for i in range(1, 21)]
    return Candidates("q", "When?", tuple(passages), own, ("1889",))


def pairs(tmp_path: Path, given: Candidates, options: PairOptions) -> list[Pair]:
    write_json_lines(tmp_path / "in.jsonl", [given])
    make_pairs(tmp_path / "in.jsonl", tmp_path / "pairs.jsonl", options)
    return list(read_records(tmp_path / "pairs.jsonl", Pair))


def ranks(found: list[Pair]) -> list[int]:
    return [int(pair.passage_id[1:]) for pair in found]


def test_pairs_are_the_first_the_own_one_and_some_of_each_band(tmp_path: Path) -> None:
    options = PairOptions(top=1, bands=(Band(2, 5, 2), Band(6, 20, 3)))
    found = ranks(pairs(tmp_path, candidates(own="c9"), options))
    assert found == sorted(found) and len(set(found)) == 7
    assert {1, 9} <= set(found)
    assert sum(2 <= rank <= 5 for rank in found) == 2
    assert found == ranks(pairs(tmp_path, candidates(own="c9"), options))
    seeds = {tuple(ranks(pairs(tmp_path, candidates(), PairOptions(seed=seed)))) for seed in range(9)}
    assert len(seeds) > 1


def test_probable_positives_are_no_negatives(tmp_path: Path) -> None:
    scores = {rank: 5.0 if rank in (1, 4) else -5.0 for rank in range(1, 21)}
    options = PairOptions(top=1, bands=(Band(2, 5, 9),), margin=2.0)
    assert ranks(pairs(tmp_path, candidates(scores), options)) == [1, 2, 3, 5]
    with pytest.raises(DataError, match="no passage has a teacher_score"):
        pairs(tmp_path, candidates(), options)


def test_a_pair_carries_what_is_known(tmp_path: Path) -> None:
    pair = pairs(tmp_path, candidates({1: 2.5}), PairOptions(top=1, bands=()))[0]
    assert (pair.id, pair.query_id, pair.passage_id) == ("q/c1", "q", "c1")
    assert (pair.teacher_score, pair.answers, pair.passage) == (2.5, ("1889",), "text 1")


@pytest.mark.parametrize("text", ["1", "5-1:2", "0-3:1", "a-b:c", "1-2"])
def test_bands_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="is not a band"):
        parse_bands(text)


@pytest.mark.slow
def test_the_commands(chunks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json_lines(tmp_path / "queries.jsonl", [Query("q", "When was the tower completed?")])
    index, out = str(tmp_path / "index"), str(tmp_path / "out.jsonl")
    assert main(["data", "index", str(chunks), "--out", index]) == 0
    assert capsys.readouterr().out == "5 chunks indexed, BM25, dense (flat)\n"
    assert main(["data", "retrieve", str(tmp_path / "queries.jsonl"), "--index", index, "--out", out, "--k", "4"]) == 0
    assert main(["data", "pairs", out, "--out", str(tmp_path / "pairs.jsonl"), "--bands", "3-4:1"]) == 0
    assert "3 pairs" in capsys.readouterr().out
    selected = str(tmp_path / "selected.jsonl")
    assert main(["data", "select", str(tmp_path / "pairs.jsonl"), "--out", selected, "--count", "2"]) == 0
    assert len(list(read_records(Path(selected), Pair))) == 2


@pytest.mark.slow
@pytest.mark.shared
def test_fusion_finds_at_least_what_the_better_of_both_finds(shared_data: Path, tmp_path: Path) -> None:
    """Recall@10 on questions and paragraphs of SQuAD."""
    examples = list(islice(read_examples(shared_data / "dev" / "squad_v1_train_part.jsonl.gz"), 60))
    texts = list(dict.fromkeys(p.passage.text for example in examples for p in example.passages))
    rows = {text: row for row, text in enumerate(texts)}
    write_json_lines(tmp_path / "chunks.jsonl", [Chunk(str(row), str(row), text) for row, text in enumerate(texts)])
    build_index(tmp_path / "chunks.jsonl", tmp_path / "index", DenseOptions())
    index = open_index(tmp_path / "index")
    asked = [example for example in examples if any(p.relevant for p in example.passages)]
    gold = [{rows[p.passage.text] for p in example.passages if p.relevant} for example in asked]

    def recall(method: Any) -> float:
        rankings = search(index, [example.query for example in asked], RetrieveOptions(k=10, method=method))
        hits = [
            len(right & set(ranking.rows.tolist())) / len(right) for right, ranking in zip(gold, rankings, strict=True)
        ]
        return float(np.mean(hits))

    found = {method: recall(method) for method in ("bm25", "dense", "fused")}
    assert found["fused"] >= max(found["bm25"], found["dense"]) > 0.8
    assert len(index.chunks) == len(texts)
