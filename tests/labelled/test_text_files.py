from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.segmenters import labelled_texts
from secateur.data_scripts.answer_spans import label_answer_spans
from secateur.data_scripts.check import check_data
from secateur.data_scripts.inspecting import read_samples
from secateur.data_scripts.publish_leaks import check_leaks
from secateur.data_scripts.queries.own import own_queries
from secateur.data_scripts.records import Query, read_records
from secateur.data_scripts.split import split
from secateur.eval.collections import read_qrels, read_run, read_texts
from secateur.eval.loaders import load_sources
from secateur.labelled.examples import data_files, read_examples
from secateur.labelled.sources import labelled_sources
from secateur.labelled.text_files import Limits, byte_lines, filled_lines, parse_json, read_text, text_lines
from secateur.labelled.yaml_files import read_yaml
from secateur.models.errors import DataError
from secateur.pipelines.corpus.rows import open_corpus

# A mark in the middle of a text is text, and so are characters that str.splitlines takes for line ends.
TEXT = "It\u2028rained.\x85 \ufeffAnna won the race.\u2029"
START = TEXT.index("Anna")


def example(name: str, text: str = TEXT) -> dict[str, Any]:
    passages = [
        {"id": "p", "text": text, "sentences": [[0, 5]], "relevant_spans": [[START, START + 19]], "relevant": True},
        {"id": "n", "text": f"Nothing of {name} is here.", "relevant": False},
    ]
    return {"id": name, "query": f"Who won {name}?", "answers": ["Anna"], "passages": passages}


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


EXAMPLES = lines(example("one"), example("two", TEXT + " Later."))
READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "examples": ("d.jsonl", EXAMPLES, lambda path: list(read_examples(path))),
    "sources": ("d.jsonl", EXAMPLES, lambda path: [list(one.read()) for one in labelled_sources(path)]),
    "evaluation": ("d.jsonl", EXAMPLES, lambda path: [one.examples for one in load_sources(path, 10)]),
    "check": ("d.jsonl", EXAMPLES, lambda path: list(check_data(path).lines())),
    "spans": (
        "d.jsonl",
        lines({"query": "Who?", "answers": ["Anna"], "passages": [TEXT]}),
        lambda path: (label_answer_spans(path, path.with_name("o")), path.with_name("o").read_text("utf-8")),
    ),
    "split": (
        "d.jsonl",
        EXAMPLES.replace(TEXT, "Text of one", 1),
        lambda path: split(path, path.with_name("s"), {"a": 1.0}),
    ),
    "inspect": ("d.jsonl", EXAMPLES, lambda path: list(read_samples(path))),
    "own queries": ("q.txt", "Who won?\nWhen\u2028was it?\n", lambda path: list(own_queries(path))),
    "own JSON queries": ("q.jsonl", lines("Who won?", {"query": "When\u2028?"}), lambda path: list(own_queries(path))),
    "records": ("q.jsonl", lines({"id": "1", "query": TEXT}), lambda path: list(read_records(path, Query))),
    "corpus": ("c.jsonl", lines({"query": "q", "text": TEXT}), lambda path: list(open_corpus(path).read())),
    "collection": ("c.jsonl", lines({"_id": "1", "text": TEXT}), read_texts),
    "collection of TSV": ("c.tsv", f"1\t{TEXT}\n2\tx\n", read_texts),
    "qrels": ("q.tsv", "query-id\tcorpus-id\tscore\n1\t2\t1\n", read_qrels),
    "run": ("r.trec", "1 Q0 2 1 0.5 me\n", read_run),
    "sentences": ("d.jsonl", EXAMPLES, labelled_texts),
    "YAML": ("c.yaml", "a: [1]\nb: [2]\n", lambda path: read_yaml(path, dict[str, list[int]])),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_takes_a_byte_order_mark_and_windows_line_ends(tmp_path: Path, name: str) -> None:
    file, content, read = READERS[name]
    path = tmp_path / file
    path.write_bytes(content.encode())
    plain = read(path)
    for data in (b"\xef\xbb\xbf" + content.encode(), ("\ufeff" + content.replace("\n", "\r\n")).encode()):
        path.write_bytes(data)
        assert read(path) == plain


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["UTF-16-LE", "UTF-16-BE", "UTF-32-LE"])
def test_other_encodings_are_named_with_what_to_do(tmp_path: Path, name: str, encoding: str) -> None:
    file, content, read = READERS[name]
    path = tmp_path / file
    path.write_bytes(("\ufeff" + content).encode(encoding))
    short = encoding[:6]
    with pytest.raises(DataError, match=rf"{path}.*is {short}, not UTF-8.*iconv -f {short} -t UTF-8"):
        read(path)


def test_leaks_are_found_behind_a_mark(tmp_path: Path) -> None:
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "d.jsonl").write_text("\ufeff" + EXAMPLES, encoding="utf-8")
    with pytest.raises(DataError, match="query 'who won one\\?'"):
        check_leaks(tmp_path)


def test_offsets_behind_marks_are_those_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\ufeff" + lines(example("x", "\ufeff" + TEXT[1:])), encoding="utf-8")
    ((passage, _),) = [one.passages for one in read_examples(path)]
    ((start, end),) = passage.spans
    assert passage.passage.text[start:end] == "Anna won the race.\u2029"
    assert passage.passage.text[0] == "\ufeff"


def test_marks_between_joined_files_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\ufeff" + lines(example("a")) + "\ufeff" + lines(example("b")), encoding="utf-8")
    assert [one.id for one in read_examples(path)] == ["a", "b"]


@pytest.mark.parametrize("data", [b'{"a": "caf\xe9"}', b"\xef\xbb\xbf{}\n{\xe9}"])
def test_bytes_that_are_no_text_are_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.jsonl").write_bytes(data)
    at = data.index(b"\xe9")
    with pytest.raises(DataError, match=rf"line {1 + data.count(10)}: byte {at} \(0xe9\) is not UTF-8"):
        list(text_lines(tmp_path / "d.jsonl"))


def test_json_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    for text in ("{", "[" * 100_000, '{"a": ' * 100_000, "1" * 5000):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
        (tmp_path / "d.jsonl").write_text(text)
        with pytest.raises(DataError, match="line 1: "):
            list(read_examples(tmp_path / "d.jsonl"))


def test_a_line_or_an_archive_without_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: is longer than 1 MiB"):
        list(byte_lines(Path("/dev/zero"), Limits(line=1 << 20)))
    bomb = tmp_path / "d.jsonl.gz"
    bomb.write_bytes(gzip.compress(b"\n" * 200_000))
    assert sum(map(len, byte_lines(bomb))) == 200_000
    with pytest.raises(DataError, match=r"unpacks to more than 0\.0\d+ MiB.*gunzip"):
        list(byte_lines(bomb, Limits(unpacked=100_000)))
    whole = tmp_path / "whole.jsonl.gz"
    whole.write_bytes(gzip.compress(b"a" * (1 << 21)))
    with pytest.raises(DataError, match="longer than 1 MiB"):
        list(byte_lines(whole, Limits(line=1 << 20)))
    assert Limits().allowed(1) == 1 << 30
    assert Limits().allowed(1 << 30) == 100 << 30


@pytest.mark.parametrize("place", [20, 200])
def test_broken_archives_are_errors(tmp_path: Path, place: int) -> None:
    data = bytearray(gzip.compress(os.urandom(300)))
    data[place] ^= 255
    data[place + 1] ^= 255
    path = tmp_path / "d.jsonl.gz"
    for broken in (bytes(data), bytes(data[:place])):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"d\.jsonl\.gz"):
            list(filled_lines(path))


def test_a_directory_with_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(EXAMPLES, encoding="utf-8")
    os.mkfifo(tmp_path / "b.jsonl")
    for read in (data_files, labelled_sources):
        with pytest.raises(DataError, match=r"b\.jsonl: is not a regular file"):
            read(tmp_path)
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "b.jsonl").mkdir()  # as harmless as any other directory
    assert data_files(tmp_path) == [tmp_path / "a.jsonl"]


def test_a_text_that_is_too_large_or_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: cannot be read"):
        read_text(tmp_path / "none")
    (tmp_path / "a").write_bytes("\ufeffa".encode())
    assert read_text(tmp_path / "a") == "a"


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 10)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 10000 values"),
        (LAUGHS.replace("[*", "[<<: [*").replace("]\n", "]]\n"), "not valid YAML"),
        ("a: &a [*a]", "contains it"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2020-99-99", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_yaml_that_would_not_end_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_yaml(tmp_path / "c.yaml", dict[str, Any])


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(tmp_path / "c.yaml", dict[str, list[int]]) == {"a": [1, 2], "b": [1, 2]}
