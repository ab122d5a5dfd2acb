from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from secateur.eval.loaders import load_sources, measurable_sources
from secateur.eval.quality import sources_by_group
from secateur.eval.units import SourceBuilder
from secateur.models.errors import DataError

TEXT = "It rained. Anna won the race."


def row(name: str, **changes: Any) -> dict[str, Any]:
    passage = {"id": "p", "title": None, "text": TEXT, "relevant_spans": [[11, 29]], "relevant": True}
    return {"id": name, "query": "Who won?", "passages": [passage], **changes}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(one) for one in rows), encoding="utf-8")
    return path


def test_a_directory_is_a_source_a_file(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", row("1"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(row("1")).encode()))
    assert [one.name for one in load_sources(tmp_path)] == ["a", "b"]


def test_a_limit_draws_the_same_queries_every_time(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *(row(str(i)) for i in range(50)))
    first, again = (load_sources(tmp_path, 5)[0].examples for _ in range(2))
    assert first == again
    assert len({example.id for example in first}) == 5
    assert load_sources(tmp_path, 100)[0].examples[:5] == first


def test_what_cannot_be_measured_is_counted_by_reason(tmp_path: Path) -> None:
    blank = {"text": " ", "relevant_spans": [], "relevant": False}
    write(tmp_path / "a.jsonl", row("1"), row("2", query=" "), row("3", passages=[]), row("4", passages=[blank]))
    (one,) = load_sources(tmp_path)
    assert len(one.examples) == 1
    assert one.skipped == {"blank query": 1, "no passage with text": 2}


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row("1"))
    (tmp_path / "b.jsonl").write_text("", encoding="utf-8")
    sources, skipped = measurable_sources(tmp_path, SourceBuilder())
    assert [source.name for source in sources] == ["a"]
    assert skipped == {"b": {"source without a usable query": 1}}


def test_a_duplicate_id_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'1' is a duplicate"):
        load_sources(write(tmp_path / "a.jsonl", row("1"), row("1")))


def test_spans_outside_the_text_are_an_error_that_names_the_line(tmp_path: Path) -> None:
    wrong = {"text": "short", "relevant_spans": [[0, 99]], "relevant": True}
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: .*outside the text"):
        load_sources(write(tmp_path / "a.jsonl", row("1"), row("2", passages=[wrong])))


def test_unlabelled_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no passage is labelled as relevant"):
        measurable_sources(write(tmp_path / "a.jsonl", row("1", passages=[{"text": TEXT}])), SourceBuilder())


def test_a_span_that_meets_no_unit_is_reported(tmp_path: Path) -> None:
    nowhere = {"text": TEXT, "relevant_spans": [], "relevant": True}
    data = write(tmp_path / "a.jsonl", row("1"), row("2", passages=[nowhere]))
    _, skipped = measurable_sources(data, SourceBuilder())
    assert skipped == {"a": {"relevant passage without a labelled unit (cannot be lost)": 1}}


def test_a_hugging_face_dataset_of_the_schema(tmp_path: Path) -> None:
    Dataset.from_list([row("1"), row("2")]).save_to_disk(str(tmp_path / "set"))
    (one,) = load_sources(tmp_path / "set")
    assert one.name == "set"
    assert [example.id for example in one.examples] == ["1", "2"]
    assert one.examples[0].passages[0].spans == ((11, 29),)


def test_a_hugging_face_dataset_of_open_provence(tmp_path: Path) -> None:
    rows = [
        {"id": "q", "query": "Who won?", "texts": [TEXT, "Cats."], "context_spans": [[[11, 29]], []], "labels": [1, 0]}
    ]
    DatasetDict({"dev": Dataset.from_list(rows)}).save_to_disk(str(tmp_path / "set"))
    (one,) = load_sources(tmp_path / "set")
    assert one.name == "dev"
    assert [p.relevant for p in one.examples[0].passages] == [True, False]


def test_a_broken_row_of_a_dataset_is_named(tmp_path: Path) -> None:
    Dataset.from_list([{"question": "Who?"}]).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match="row 1: KeyError"):
        load_sources(tmp_path / "set")


def test_sources_are_grouped_by_their_directories(tmp_path: Path) -> None:
    for name in ("docs/dev", "lines/dev", "dev"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name / f"{name.split('/')[0]}_set.jsonl", row("1"))
    paths = [tmp_path / "dev", tmp_path / "docs/dev", tmp_path / "lines/dev" / "lines_set.jsonl"]
    sources, _ = measurable_sources(paths, SourceBuilder())
    assert sources_by_group(sources) == {"prose": ["dev_set"], "docs": ["docs_set"], "lines": ["lines_set"]}
    assert sources_by_group(sources[1:2]) == {}


def test_two_sources_of_one_name_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    paths = [write(tmp_path / name, row("1")) for name in ("a.jsonl", "docs/a.jsonl")]
    with pytest.raises(DataError, match="the source 'a' occurs 2 times; rename a file"):
        load_sources(paths)


def test_an_unknown_format_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    wrong = {"text": TEXT, "format": "scroll"}
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: .*unknown format 'scroll'"):
        load_sources(write(tmp_path / "a.jsonl", row("1", passages=[wrong])))
