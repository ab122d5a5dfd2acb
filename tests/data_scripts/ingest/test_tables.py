from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from secateur.data_scripts.ingest.sources import Columns, Found, LeftOut, find
from secateur.data_scripts.ingest.tables import Row, read_table
from secateur.data_scripts.records import Document
from secateur.models.errors import DataError, InputError


def entries(path: Path, **columns: str) -> list[Row | LeftOut]:
    return [
        entry for found in find(path) if isinstance(found, Found) for entry in read_table(found, Columns(**columns))
    ]


def documents(path: Path, **columns: str) -> list[Document]:
    return [entry.document for entry in entries(path, **columns) if isinstance(entry, Row)]


ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "One", "text": "First.", "year": "2001"},
    {"id": "b", "title": "Two", "text": "Second,\nlong.", "year": "2002"},
]


def write_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(ROWS)


def write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), path)


def write_lines(path: Path) -> None:
    data = "\n".join(map(json.dumps, ROWS)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_dataset(path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS).save_to_disk(str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.csv", write_csv),
        ("d.tsv", write_csv),
        ("d.parquet", write_parquet),
        ("d.jsonl", write_lines),
        ("d.jsonl.gz", write_lines),
        ("d", write_dataset),
    ],
)
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    assert documents(tmp_path / name) == [
        Document(row["id"], row["text"], row["title"], {"year": row["year"], "source": name, "row": number})
        for number, row in enumerate(ROWS, 1)
    ]


def test_splits_of_a_dataset_are_all_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    DatasetDict({"b": Dataset.from_list(ROWS[:1]), "a": Dataset.from_list(ROWS[1:])}).save_to_disk(str(tmp_path / "d"))
    assert [document.id for document in documents(tmp_path / "d")] == ["b", "a"]


def test_a_beir_directory_is_its_corpus(tmp_path: Path) -> None:
    rows = [{"_id": "7", "title": "T", "text": "Words.", "metadata": {"url": "u"}}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "not a document"}')
    (document,) = documents(tmp_path)
    assert (document.id, document.metadata) == ("7", {"url": "u", "source": "corpus.jsonl", "row": 1})


def test_columns_can_be_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "d.csv")
    first = documents(tmp_path / "d.csv", text="title", id="year")[0]
    assert (first.text, first.id, first.title) == ("One", "2001", "One")


def test_without_an_id_the_row_is_the_id(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('\n{"text": "a", "n": NaN}\n{"text": null}\n')
    row, left = entries(tmp_path / "d.jsonl")
    assert isinstance(row, Row)
    assert (row.document.id, row.named, row.document.metadata["n"]) == ("d.jsonl#1", False, None)
    assert isinstance(left, LeftOut)
    assert left.where.endswith("line 3")


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{", "broken line", "is not JSON"),
        (b"[" * 100_000, "broken line", "is not JSON (nested too deep)"),
        (b"[1]", "broken line", "must be a JSON object, not [1]"),
        (b'{"text": 3}', "text is not a string", "text must be a string, not 3"),
        (b'{"text": "caf\xe9"}', "wrong encoding", "byte 35 (0xe9) is not UTF-8"),
        (b'{"n": 1}', "no such column", "use one of its columns: n"),
        (b'{"text": "b", "m": ' + b"[" * 600 + b"]" * 600 + b"}", "nested too deep", "more than 100 deep"),
    ],
)
def test_a_broken_line_is_named_and_those_behind_it_are_read(
    tmp_path: Path, line: bytes, reason: str, detail: str
) -> None:
    (tmp_path / "d.jsonl").write_bytes(b'{"text": "a", "x": 1}\n' + line + b'\n{"text": "c"}\n')
    first, left, last = entries(tmp_path / "d.jsonl")
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(left, LeftOut)
    assert (left.where, left.reason) == (f"{tmp_path / 'd.jsonl'}, line 2", reason)
    assert detail in left.detail


def test_a_missing_column_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("n,words\n1,a\n")
    with pytest.raises(InputError, match=r"--text-column.*its columns: n, words"):
        entries(tmp_path / "d.csv")
    with pytest.raises(InputError, match=r"--id-column: .*no column 'key'; use one of its columns: n, words"):
        entries(tmp_path / "d.csv", id="key", text="words")
    (tmp_path / "d.jsonl").write_text('{"n": 1}\n{"text": "a"}')
    with pytest.raises(InputError, match=r"line 1 has no column"):
        entries(tmp_path / "d.jsonl")
    # In a directory it is one table of many.
    left = entries(tmp_path)
    assert [(entry.where, entry.reason) for entry in left if isinstance(entry, LeftOut)] == [
        (f"{tmp_path / 'd.csv'}, line 2", "no such column"),
        (f"{tmp_path / 'd.jsonl'}, line 1", "no such column"),
    ]


def test_broken_tables_are_errors(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,text\n1,a,b\n2,c\n")
    left, row = entries(tmp_path / "d.csv")
    assert isinstance(left, LeftOut)
    assert (left.reason, "more fields than the header's 2" in left.detail) == ("broken line", True)
    assert isinstance(row, Row)
    (tmp_path / "d.csv").write_text('id,text\n1,"a\n')
    with pytest.raises(DataError, match="is not CSV"):
        entries(tmp_path / "d.csv")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        entries(tmp_path / "d.parquet")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 500)[:-12])
    with pytest.raises(DataError, match=r"d\.jsonl\.gz: cannot be read"):
        entries(tmp_path / "d.jsonl.gz")
