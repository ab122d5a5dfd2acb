from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.data_scripts.split import split, split_rows
from secateur.labelled.examples import Example, data_files, read_examples
from secateur.models.errors import DataError

SHARES = {"train": 0.7, "test": 0.3}


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"id": str(i), "query": q, "passages": [{"text": t}]}) for i, (q, t) in enumerate(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")


def read(directory: Path) -> list[Example]:
    return [example for file in data_files(directory) for example in read_examples(file)]


def test_every_query_is_in_one_split_and_shares_are_met(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data / "a.jsonl", [(f"query {i}?", f"text {i}") for i in range(80)])
    write(data / "b.jsonl", [(f"other {i}?", f"words {i}") for i in range(20)])
    counts = split(data, tmp_path / "out", SHARES)
    splits = {name: read(tmp_path / "out" / name) for name in SHARES}
    assert counts == {"train": 70, "test": 30} == {name: len(found) for name, found in splits.items()}
    queries = [example.query for found in splits.values() for example in found]
    assert len(set(queries)) == 100
    assert {file.name for file in data_files(tmp_path / "out" / "train")} == {"a.jsonl", "b.jsonl"}


def test_no_split_sees_a_passage_or_a_query_of_another(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [(f"query {i}?", f"text {i // 3}") for i in range(90)] + [("Query 5?", f"alone {i}") for i in range(5)]
    write(path, rows)
    split(path, tmp_path / "out", SHARES)
    train, test = (read(tmp_path / "out" / name) for name in SHARES)
    for key in (lambda e: e.query.lower(), lambda e: e.passages[0].passage.text):
        assert not {key(e) for e in train} & {key(e) for e in test}


def test_questions_that_are_asked_of_every_document_do_not_keep_documents_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data.jsonl"
    write(path, [("When does it end?", f"contract {i // 2}") for i in range(100)])
    counts = split(path, tmp_path / "out", SHARES)
    train, test = (read(tmp_path / "out" / name) for name in SHARES)
    assert counts == {"train": 70, "test": 30}
    assert not {e.passages[0].passage.text for e in train} & {e.passages[0].passage.text for e in test}
    assert "in several splits, each time with other passages: 1" in caplog.text


def test_the_seed_decides(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write(path, [(f"query {i}?", f"text {i}") for i in range(50)])
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        split(path, tmp_path / name, SHARES, seed)
        found.append([e.query for e in read(tmp_path / name / "test")])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_queries_that_are_all_connected_cannot_be_split(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write(path, [(f"query {i}?", "the one text") for i in range(50)])
    with pytest.raises(DataError, match="the split 'test' would be empty"):
        split(path, tmp_path / "out", SHARES)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"query": "q", "passages": [{"text": "a"}]}\n{"query": 3}', encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        split(path, tmp_path / "out", SHARES)


def test_splits_that_no_way_fills_hold_what_can_be_separated() -> None:
    shared = {"text": "an irrelevant passage of every query", "relevant": False}
    texts = ["one text"] * 27 + ["a second", "a third", "a fourth"]
    rows = [{"query": f"q{i}", "passages": [{"text": t, "relevant": True}, shared]} for i, t in enumerate(texts)]
    shares = {"train": 0.8, "dev": 0.1, "test": 0.1}
    splits = split_rows(rows, shares, 13)
    assert not splits.well_filled(shares)
    assert all(splits.rows.values()) and sum(map(len, splits.rows.values())) == 30
