from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.data_scripts.answer_spans import find_spans, label_answer_spans
from secateur.labelled.examples import read_examples
from secateur.models.errors import DataError


@pytest.mark.parametrize(
    ("text", "answers", "found"),
    [
        ("Anna won in Rome. anna smiled.", ["Anna"], ["Anna", "anna"]),
        ("Joanna won.", ["Anna"], []),
        ("in New\n York City", ["new york"], ["New\n York"]),
        ("born 1889 (in Paris)", ["1889 (in Paris)", "Paris"], ["1889 (in Paris)"]),
        ("C++ is old", ["C++"], ["C++"]),
        ("anything", ["", "  "], []),
    ],
)
def test_answers_are_found_as_whole_words(text: str, answers: list[str], found: list[str]) -> None:
    assert [text[start:end] for start, end in find_spans(text, answers)] == found


def test_the_output_is_what_training_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "faq.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"query": "Who won?", "answers": ["Anna"], "passages": ["Anna won.", {"id": 7, "text": "Cats.", "title": "T"}]},
        {"query": "Who lost?", "answers": ["Zoe"], "passages": ["Anna won."]},
    ]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["data", "spans", str(source), str(target)]) == 0
    assert "1 of them with an answer; 1 queries" in capsys.readouterr().out
    first, second = read_examples(target)
    assert first.source == "faq"
    assert [p.relevant for p in first.passages] == [True, False]
    assert first.passages[0].spans == ((0, 4),)
    assert first.passages[1].passage.title == "T"
    assert not second.passages[0].relevant


@pytest.mark.parametrize("line", ["{", '{"query": "q"}', '{"query": "", "answers": [], "passages": []}', "[1]"])
def test_a_wrong_line_is_named_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    source, target = tmp_path / "bad.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"query": "q", "answers": ["a"], "passages": ["a"]}\n' + line, encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        label_answer_spans(source, target)
    assert list(tmp_path.iterdir()) == [source]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        label_answer_spans(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
