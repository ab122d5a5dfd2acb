from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Loopback, chat_server, completion
from fastapi.responses import JSONResponse

from secateur.cli import main
from secateur.data_scripts.llm_run import LlmReport
from secateur.data_scripts.queries.generation import GenerateOptions, read_queries
from secateur.data_scripts.queries.own import own_queries, queries_by_rule
from secateur.data_scripts.queries.round_trip import round_trip
from secateur.data_scripts.queries.run import make_queries
from secateur.data_scripts.queries.topics import topics
from secateur.data_scripts.records import Candidate, Candidates, Chunk, Query, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError

FAQ = """## How long does delivery take?

Delivery takes three days within the country and ten days abroad.

**Can I return a bicycle?**

Yes, within thirty days, if it was not ridden in the rain.

## Warranty

The frame is covered for ten years against breaking of any kind.

## Empty

Q: Who pays for a return?
A: We pay for the parcel in all countries that we deliver to.
"""


def chunk(text: str, number: int = 0, title: str = "", document: str = "d") -> Chunk:
    return Chunk(f"{document}-{number}", document, text, title, 0, len(text))


def test_questions_and_headings_become_queries() -> None:
    found = [(query.style, query.query) for query in queries_by_rule([chunk(FAQ, title="Bicycles")])]
    assert found == [
        ("faq", "How long does delivery take?"),
        ("faq", "Can I return a bicycle?"),
        ("heading", "Bicycles: Warranty"),
        ("faq", "Who pays for a return?"),
    ]


def test_a_query_knows_its_chunk_and_stands_once() -> None:
    found = list(queries_by_rule([chunk(FAQ, 0), chunk(FAQ, 1)]))
    assert {query.chunk_id for query in found} == {"d-0"}
    assert len({query.id for query in found}) == len(found)


def test_underlined_headings() -> None:
    text = "Shipping costs\n==============\nThey depend on the weight of the whole order.\n"
    assert [query.query for query in queries_by_rule([chunk(text)])] == ["Shipping costs"]


def test_plain_prose_asks_nothing() -> None:
    assert list(queries_by_rule([chunk("He asked: what now? Nobody knew, and so they went home again.")])) == []


@pytest.mark.slow
def test_topics_are_spread_over_a_document() -> None:
    bread = ["Bread dough needs flour and yeast.", "Knead the dough and bake the bread.", "Flour makes dough stiff."]
    whales = ["Whales swim in oceans.", "Oceans are home to whales and krill.", "Krill feeds whales in cold oceans."]
    chunks = [chunk(text, number) for number, text in enumerate(bread + whales)]
    first, second = topics(chunks, 2)
    assert int(first.chunk.id[2:]) < 3 <= int(second.chunk.id[2:])
    assert "dough" in first.words
    assert "whales" in second.words


@pytest.mark.parametrize(
    "texts", [["the of and"], ["这是一个测试", "另外一个"], ["same words here", "same words here"]]
)
def test_topics_of_odd_documents(texts: list[str]) -> None:
    found = topics([chunk(text, number) for number, text in enumerate(texts)], 4)
    assert 1 <= len(found) <= len(texts)


@pytest.mark.parametrize(
    ("reply", "queries"),
    [
        ('["a b", "c"]', ["a b", "c"]),
        ('```json\n["a"]\n```', ["a"]),
        ('<think>hm ["x"]</think>["a"]', ["a"]),
        ("1. how long?\n2. who pays?", ["how long?", "who pays?"]),
        ('- "how long?"', ["how long?"]),
        ("[]", []),
        ("I cannot help with that.", None),
        ('{"queries": []}', None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_replies_are_read(reply: str, queries: list[str] | None) -> None:
    assert read_queries(reply) == queries


def writer(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Ask for the first words of the passage's sentences, in as many queries as are wanted."""
    prompt = body["messages"][-1]["content"]
    passage = re.search(r"Passage:\n(.*?)\n\n", prompt, re.DOTALL)
    wanted = re.search(r"Write (\d+) queries. Each is (\w+ \w+)", prompt)
    assert passage and wanted
    sentences = [s.split()[:3] for s in passage[1].split(".") if s.strip()]
    queries = [f"{wanted[2]} {' '.join(words)}" for words in sentences][: int(wanted[1])]
    return completion(json.dumps([*queries, "What does the passage say about it?"]))


@pytest.fixture
def server() -> Iterator[Loopback]:
    with chat_server(writer) as running:
        yield running


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    path = tmp_path / "chunks.jsonl"
    texts = ["Bread needs flour. Cats sleep.", "Whales swim far. Krill is small.", "The tower stands. It is tall."]
    write_json_lines(path, [chunk(text, number, document="ab"[number // 2]) for number, text in enumerate(texts)])
    return path


def generate(chunks: Path, out: Path, server: Loopback, **options: Any) -> tuple[int, LlmReport]:
    options = {"endpoint": server.endpoint(), "options": GenerateOptions(**options)}
    return make_queries(chunks, out, rules=False, cache=chunks.with_name("replies"), **options)


def test_a_model_writes_queries_in_every_style(chunks: Path, server: Loopback, tmp_path: Path) -> None:
    count, report = generate(chunks, tmp_path / "q.jsonl", server)
    queries = list(read_records(tmp_path / "q.jsonl", Query))
    assert count == len(queries) == 18
    assert {query.style for query in queries} == {"question", "keywords", "conversational"}
    assert {query.chunk_id for query in queries} == {"a-0", "a-1", "b-2"}
    assert report.dropped == {"refers_to_the_passage": 9}
    assert len(server.bodies) == 9


def test_a_second_run_asks_nothing_and_writes_the_same(chunks: Path, server: Loopback, tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate(chunks, tmp_path / name, server)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len(server.bodies) == 9


def test_a_failing_request_is_asked_again_by_the_next_run(chunks: Path, server: Loopback, tmp_path: Path) -> None:
    server.behave = lambda body, number: JSONResponse({}, 500) if number == 4 else writer(body, number)
    _, report = generate(chunks, tmp_path / "q.jsonl", server)
    assert report.missing == {"status_500": 1}
    server.behave = writer
    count, report = generate(chunks, tmp_path / "q.jsonl", server)
    assert (count, report.missing, report.sent) == (18, {}, 1)


def test_own_queries_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("How long?\n\nWho pays?\n")
    (tmp_path / "own.jsonl").write_text('"How long?"\n{"id": "x", "query": "Who pays?", "answers": ["We"]}\n')
    assert [query.query for query in own_queries(tmp_path / "own.txt")] == ["How long?", "Who pays?"]
    one, two = own_queries(tmp_path / "own.jsonl")
    assert (one.id, two.id, two.answers, two.style) == ("own-1", "x", ("We",), "own")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "own.jsonl, line 1: is not JSON"),
        ('{"id": "a"}', "own.jsonl, line 1: query: Field required"),
        ('{"query": " "}', "own.jsonl, line 1: query: is blank"),
        ("[1]", "own.jsonl, line 1"),
    ],
)
def test_own_queries_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "own.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=re.escape(message)):
        list(own_queries(tmp_path / "own.jsonl"))


def test_own_queries_come_first_and_each_text_once(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "chunks.jsonl", [chunk(FAQ)])
    (tmp_path / "own.txt").write_text("who pays for  a return?\n")
    make_queries(tmp_path / "chunks.jsonl", tmp_path / "q.jsonl", own=tmp_path / "own.txt")
    styles = [query.style for query in read_records(tmp_path / "q.jsonl", Query)]
    assert styles == ["own", "faq", "faq", "heading"]


def test_no_query_at_all_is_an_error(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no heading and no question"):
        make_queries(chunks, tmp_path / "q.jsonl")
    with pytest.raises(InputError, match="queries: no source is given"):
        make_queries(chunks, tmp_path / "q.jsonl", rules=False)


def candidates(id: str, own: str | None, *found: str) -> Candidates:
    return Candidates(id, "q", tuple(Candidate(name, "text", rank=i) for i, name in enumerate(found, 1)), own)


def test_queries_that_do_not_find_their_chunk_are_left_out(tmp_path: Path) -> None:
    rows = [candidates("1", "a", "a", "b"), candidates("2", "b", "a", "b"), candidates("3", None, "a")]
    write_json_lines(tmp_path / "in.jsonl", rows)
    assert round_trip(tmp_path / "in.jsonl", tmp_path / "out.jsonl", 1) == (2, 1)
    assert [row.id for row in read_records(tmp_path / "out.jsonl", Candidates)] == ["1", "3"]
    write_json_lines(tmp_path / "in.jsonl", rows[1:2])
    with pytest.raises(DataError, match="no query finds its own chunk within rank 1"):
        round_trip(tmp_path / "in.jsonl", tmp_path / "none.jsonl", 1)


def test_the_commands(chunks: Path, server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "q.jsonl"
    command = ["data", "queries", str(chunks), "--out", str(out), "--base-url", server.url, "--llm", "m"]
    assert main([*command, "--style", "question", "--per-topic", "1"]) == 0
    assert "3 queries" in capsys.readouterr().out
    write_json_lines(tmp_path / "in.jsonl", [candidates("1", "a", "a", "b"), candidates("2", "b", "a", "b")])
    assert main(["data", "round-trip", str(tmp_path / "in.jsonl"), "--out", str(out), "--k", "1"]) == 0
    assert "1 query kept, 1 left out" in capsys.readouterr().out
