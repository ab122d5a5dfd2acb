from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.cli import main
from secateur.data_scripts.chunking import ChunkOptions, ChunkReport, chunk, chunk_document
from secateur.data_scripts.records import Chunk, Document, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage

SEGMENTER = get_segmenter()
TEXT = " ".join(f"This is sentence number {number}." for number in range(40))


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.sampled_from("ab. \n-A1é😀\u0301?"), max_size=300),
    units=st.none() | st.integers(2, 4),
    overlap=st.integers(0, 1),
    most=st.integers(1, 50),
)
def test_chunks_are_their_documents_text_and_miss_none_of_it(
    text: str, units: int | None, overlap: int, most: int
) -> None:
    options = ChunkOptions(units=units, overlap=overlap, max_characters=most)
    chunks = list(chunk_document(Document("d", text), options, SEGMENTER, ChunkReport()))
    missed = set(range(len(text)))
    for found in chunks:
        assert text[found.start : found.end] == found.text == found.text.strip()
        assert 0 < len(found.text) <= most
        missed -= set(range(found.start, found.end))
    assert not "".join(text[index] for index in sorted(missed)).strip()
    assert len({found.id for found in chunks}) == len(chunks)


@pytest.mark.parametrize(("units", "overlap", "sizes"), [(10, 0, [10] * 4), (7, 0, [7] * 5 + [5]), (20, 10, [20] * 3)])
def test_fixed_sizes(units: int, overlap: int, sizes: list[int]) -> None:
    chunks = list(
        chunk_document(Document("d", TEXT), ChunkOptions(units=units, overlap=overlap), SEGMENTER, ChunkReport())
    )
    assert [len(segment(Passage(found.text))) for found in chunks] == sizes
    if not overlap:
        assert " ".join(found.text for found in chunks) == TEXT


def test_random_sizes_depend_on_document_and_seed_alone(tmp_path: Path) -> None:
    documents = [Document(f"d{number}", TEXT, "Title") for number in range(6)]
    write_json_lines(tmp_path / "all.jsonl", documents)
    write_json_lines(tmp_path / "some.jsonl", documents[3:])
    for name in ("all", "some"):
        assert main(["data", "chunk", str(tmp_path / f"{name}.jsonl"), "--out", str(tmp_path / f"{name}.out")]) == 0
    every = list(read_records(tmp_path / "all.out", Chunk))
    assert list(read_records(tmp_path / "some.out", Chunk)) == [c for c in every if c.document_id in ("d3", "d4", "d5")]
    sizes = [len(segment(Passage(found.text))) for found in every]
    assert set(sizes) <= set(range(1, 11))
    assert len(set(sizes)) > 5
    assert {found.title for found in every} == {"Title"}
    one, other = (list(chunk_document(documents[0], ChunkOptions(seed=n), SEGMENTER, ChunkReport())) for n in (1, 2))
    assert one != other


def test_a_unit_that_is_too_long_is_cut_at_white_space() -> None:
    report = ChunkReport()
    chunks = list(chunk_document(Document("d", "word " * 50), ChunkOptions(max_characters=32), SEGMENTER, report))
    assert {found.text for found in chunks} == {"word word word word word word", "word word"}
    assert report.cut_units == 1


@pytest.mark.slow
def test_time_grows_with_length_alone() -> None:
    text = "It is a sentence. And another one, a little longer. " * 20_000
    chunks = list(chunk_document(Document("d", text), ChunkOptions(units=10), SEGMENTER, ChunkReport()))
    assert len(chunks) == 4_000


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"units": 0}, "units: 0"),
        ({"units": 3, "overlap": 3}, "overlap: "),
        ({"max_characters": 0}, "max_characters: 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        ChunkOptions(**options)


def test_files_without_text_or_with_one_id_twice_are_errors(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_json_lines(source, [Document("a", " ")])
    with pytest.raises(DataError, match="holds no document with text"):
        chunk(source, out, ChunkOptions())
    write_json_lines(source, [Document("a", "Text."), Document("a", "More.")])
    with pytest.raises(DataError, match="duplicate id 'a'"):
        chunk(source, out, ChunkOptions())
    assert not out.exists()


def test_chunks_have_the_format_of_the_whole_document() -> None:
    document = Document("d", "# Title\n\nOne. Two.\n", format="auto")
    chunks = list(chunk_document(document, ChunkOptions(units=1), SEGMENTER, ChunkReport()))
    assert [(one.text, one.format) for one in chunks] == [
        ("# Title", "markdown"),
        ("One.", "markdown"),
        ("Two.", "markdown"),
    ]
