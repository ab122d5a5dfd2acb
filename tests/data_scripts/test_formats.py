"""A passage's format reaches every step, so that none segments a text in another format."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from secateur.data_scripts.answer_spans import label_answer_spans
from secateur.data_scripts.check import check_data
from secateur.data_scripts.chunking import ChunkOptions, chunk
from secateur.data_scripts.ingest.run import ingest
from secateur.data_scripts.inspecting import read_samples
from secateur.data_scripts.publish import PublishOptions, publish
from secateur.data_scripts.records import Chunk, Document, Labelled, Pair, read_records
from secateur.data_scripts.split import split
from secateur.labelled.examples import read_examples
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError
from secateur.models.segmentation import FORMATS, Format
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit

TEXT = "x = 1. y = 2.\nz = 3. Anna."


def by_lines(text: str, segmenter: Segmenter) -> list[Unit]:
    """Segment a text into lines."""
    ends = [number for number, character in enumerate(text, 1) if character == "\n" or number == len(text)]
    return [Unit(start, end, "sentence") for start, end in pairwise([0, *ends])]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lines", "markdown"):
        monkeypatch.setitem(FORMATS, name, Format("", by_lines))


def test_documents_and_chunks_have_the_format_of_their_source(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out.jsonl"
    source.mkdir()
    (source / "a.md").write_text("Some *Markdown*.\n")
    write_json_lines(source / "b.jsonl", [{"text": TEXT, "format": "lines"}, {"text": "A PDF.", "format": "pdf"}])
    ingest([source], out)
    found = {document.id: document for document in read_records(out, Document)}
    assert {id: document.format for id, document in found.items()} == {
        "a.md": "markdown",
        "b.jsonl#1": "lines",
        "b.jsonl#2": "text",
    }
    assert found["b.jsonl#2"].metadata["format"] == "pdf"
    chunk(out, tmp_path / "chunks.jsonl", ChunkOptions(units=1))
    chunks = [one for one in read_records(tmp_path / "chunks.jsonl", Chunk) if one.format == "lines"]
    assert [one.text for one in chunks] == TEXT.split("\n")


def test_published_examples_have_the_format_of_their_labels(tmp_path: Path) -> None:
    units = ((0, 14), (14, len(TEXT)))
    label = Labelled("p", "Who?", TEXT, units, (0.0, 1.0), format="lines")
    write_json_lines(tmp_path / "labels.jsonl", [label])
    out = tmp_path / "out"
    publish(tmp_path / "labels.jsonl", out, PublishOptions(shares={"train": 1.0}))
    for directory in (out / "train", out / "parquet" / "train"):
        (source,) = labelled_sources(directory)
        assert [passage.passage.format for example in source.read() for passage in example.passages] == ["lines"]
    split(out / "train", tmp_path / "again", {"train": 1.0})
    ((passage,),) = (example.passages for example in read_examples(tmp_path / "again" / "train" / "labels.jsonl"))
    assert passage.passage.format == "lines"


def test_labels_are_checked_and_shown_in_the_format_of_their_passage(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    row = {"query": "Who?", "answers": ["Anna"], "passages": [{"text": TEXT, "format": "lines"}]}
    source.write_text(json.dumps(row))
    label_answer_spans(source, target)
    (sample,) = read_samples(target)
    assert (sample.units, sample.labels) == (((0, 14), (14, len(TEXT))), (0.0, 1.0))
    (report,) = check_data(target).sources
    assert (report.units, report.kept) == (2, 1)


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [Pair("p", "Who?", TEXT, format="scroll")])
    with pytest.raises(DataError, match=r"pairs\.jsonl, line 1: format: .*'scroll'"):
        list(read_records(tmp_path / "pairs.jsonl", Pair))
