from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.data_scripts.inspecting import draw, inspect, pieces, read_samples
from secateur.data_scripts.publish import to_examples
from secateur.data_scripts.records import Labelled
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError

TEXT = "Rome <b>fell</b>. \x1b[31mAnna won. It rained."
LABELS = [
    Labelled(f"p{number}", f"Who won {number}?", TEXT, ((0, 18), (18, 33), (33, len(TEXT))), (0.0, 1.0, 0.3), "Anna")
    for number in range(20)
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    write_json_lines(tmp_path / "labels.jsonl", LABELS)
    return tmp_path / "labels.jsonl"


def test_samples_are_the_seeds(labels: Path) -> None:
    drawn = [[s.query for s in draw(read_samples(labels), 5, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5
    assert len(draw(read_samples(labels), 99, 1)) == 20


def test_published_examples_show_the_same_labels(tmp_path: Path, labels: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    write_json_lines(path, to_examples(LABELS, "s"))
    (first, *_), (made, *_) = read_samples(labels), read_samples(path)
    assert [piece for piece, share in pieces(made) if share == 1.0] == [TEXT[18:32]]
    assert "".join(piece for piece, _ in pieces(made)) == "".join(piece for piece, _ in pieces(first)) == TEXT


def test_examples_of_other_makers_show_their_spans(tmp_path: Path) -> None:
    text = "Rome is old. Anna won the race. It rained."
    row = {"query": "q", "passages": [{"text": text, "relevant_spans": [[13, 31]], "teacher_score": 2.0}]}
    (tmp_path / "d.jsonl").write_text(json.dumps(row))
    (sample,) = read_samples(tmp_path / "d.jsonl")
    assert sample.labels == (0.0, 1.0, 0.0)
    assert sample.answer == "relevant, teacher 2.00"


def test_the_terminal_gets_no_commands_from_the_text(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(labels), "--n", "2"]) == 0
    printed = capsys.readouterr().out
    assert "�[31mAnna won." in printed
    assert "\x1b[31m" not in printed


def test_the_page_is_escaped_and_needs_nothing_else(labels: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert main(["data", "inspect", str(labels), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Rome &lt;b&gt;fell&lt;/b&gt;." in text
    assert text.count("Anna won.") == 5
    assert not any(word in text for word in ("http", "<script", "\x1b"))


def test_bad_files_are_named(tmp_path: Path, labels: Path) -> None:
    path = tmp_path / "bad.jsonl"
    for line, message in (
        ("{", "line 1: is not JSON"),
        ('{"query": "q"}', "line 1: id: Field required"),
        (
            '{"query": "q", "passages": [{"text": "a", "sentences": [[0, 1]], "soft_labels": [1, 0]}]}',
            "1 units, but 2 labels",
        ),
        ("", "has no labelled passages"),
    ):
        path.write_text(line)
        with pytest.raises(DataError, match=message):
            inspect(path)
    with pytest.raises(InputError, match="n: 0"):
        inspect(labels, 0)
