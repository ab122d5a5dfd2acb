from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError

TEXT = "It rained. Anna won the race."


def row(name: str) -> dict[str, Any]:
    passages = [{"id": "p", "title": None, "text": TEXT, "relevant_spans": [[11, 29]], "relevant": True}]
    return {"id": name, "source": "toy", "query": f"Who won {name}?", "answers": ["Anna"], "passages": passages}


def ids(path: Path) -> dict[str, list[str]]:
    return {source.name: [example.id for example in source.read()] for source in labelled_sources(path)}


def test_a_directory_has_a_source_a_file_whatever_its_kind(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row("1")) + "\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(row("2")) + "\n" + json.dumps(row("3")))
    Dataset.from_list([row("4")]).to_parquet(str(tmp_path / "c.parquet"))
    (tmp_path / "README.md").write_text("not data", encoding="utf-8")
    assert ids(tmp_path) == {"a": ["1"], "b": ["2", "3"], "c": ["4"]}
    assert ids(tmp_path / "c.parquet") == {"c": ["4"]}


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    Dataset.from_list([row("1"), row("2")]).to_parquet(str(tmp_path / "a.parquet"))
    (source,) = labelled_sources(tmp_path)
    first, again = list(source.read()), list(source.read())
    assert first == again
    assert first[0].passages[0].spans == ((11, 29),)
    assert first[0].answers == ("Anna",)


def test_a_saved_dataset_has_a_source_a_split(tmp_path: Path) -> None:
    splits = {"dev": Dataset.from_list([row("1")]), "train": Dataset.from_list([row("2")])}
    DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    assert ids(tmp_path / "set") == {"dev": ["1"], "train": ["2"]}


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    Dataset.from_list([{"question": "Who?"}]).to_parquet(str(tmp_path / "a.parquet"))
    (source,) = labelled_sources(tmp_path)
    with pytest.raises(DataError, match=r"a\.parquet, row 1: KeyError"):
        list(source.read())


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    (source,) = labelled_sources(tmp_path)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(source.read())


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        labelled_sources(tmp_path)
