from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.data_scripts.ingest.run import IngestOptions, ingest
from secateur.data_scripts.records import Document, read_records
from secateur.models.errors import DataError, InputError

LONG = " ".join(f"word{number}" for number in range(100))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / "b.txt").write_text(LONG)
    (root / "a.md").write_text("# Head\n\nBody.")
    (root / "sub" / "same.txt").write_text(f"  {LONG.upper()}\n")
    (root / "sub" / "near.txt").write_text(LONG + " more")
    (root / "sub" / "empty.txt").write_text(" \n")
    (root / "sub" / "page.html").write_text("<script>x</script>")
    (root / "picture.png").write_bytes(b"\x89PNG\x00")
    (root / "code.py").write_text("pass")
    (root / ".hidden.txt").write_text("not meant")
    return root


def read(path: Path) -> list[Document]:
    return list(read_records(path, Document))


def test_a_folder_is_read_once_in_order_and_what_is_left_out_is_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "docs.jsonl"
    assert main(["data", "ingest", str(folder), "--out", str(out)]) == 0
    assert [document.id for document in read(out)] == ["a.md", "b.txt"]
    printed = capsys.readouterr().out
    assert "2 documents from 8 files; 6 left out" in printed
    for line in ("empty: 2", "binary file: 1", "unknown format: 1", "near-duplicate: 1", "\n  duplicate: 1"):
        assert line in printed
    assert "the same text as 'b.txt'" in printed
    first = out.read_bytes()
    ingest([folder], out)
    assert out.read_bytes() == first


def test_near_duplicates_may_stay(folder: Path, tmp_path: Path) -> None:
    ingest([folder], tmp_path / "out.jsonl", options=IngestOptions(near_duplicates=0))
    assert [document.id for document in read(tmp_path / "out.jsonl")] == ["a.md", "b.txt", "sub/near.txt"]


def test_the_output_is_not_read_again(folder: Path) -> None:
    out = folder / "all.jsonl"
    assert ingest([folder], out).documents == ingest([folder], out).documents == 2


def test_files_of_one_name_get_a_number(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"Text {name}.")
    ingest([tmp_path / name for name in "xyz"], tmp_path / "out.jsonl")
    assert [document.id for document in read(tmp_path / "out.jsonl")] == ["a.txt", "a.txt~2", "a.txt~3"]


def test_repeated_ids_are_an_error_unless_asked_for(tmp_path: Path) -> None:
    table, out = tmp_path / "d.jsonl", tmp_path / "out.jsonl"
    table.write_text("\n".join(json.dumps({"id": "1", "text": text}) for text in ("One.", "Two.", "One.")))
    with pytest.raises(DataError, match=r"line 2: the id '1' is already used at .*line 1"):
        ingest([table], out)
    assert not out.exists()
    assert ingest([table], out, options=IngestOptions(same_ids="suffix")).left_out.counts == {"duplicate": 1}
    assert [document.id for document in read(out)] == ["1", "1~2"]


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    binary = tmp_path / "a.bin"
    binary.write_bytes(b"\0\1")
    with pytest.raises(DataError, match=r"no document found(.|\n)*binary file: 1"):
        ingest([binary], tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="none: no such file or directory"):
        ingest([tmp_path / "none"], tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="near_duplicates: 2"):
        ingest([binary], tmp_path / "out.jsonl", options=IngestOptions(near_duplicates=2))
    assert list(tmp_path.iterdir()) == [binary]
