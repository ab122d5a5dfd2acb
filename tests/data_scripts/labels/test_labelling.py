from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import PATIENCE, Loopback, chat_server, completion
from fastapi.responses import JSONResponse, Response

from secateur.cli import main
from secateur.data_scripts.labels.labelling import LabelOptions
from secateur.data_scripts.labels.run import label, label_by_answers, project
from secateur.data_scripts.records import Labelled, Pair, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import Prices
from secateur.llm.endpoint import EndpointError
from secateur.models.errors import DataError, InputError
from secateur.models.segmentation import FORMATS, Format
from secateur.models.types import Unit

PASSAGE = "Bread needs flour. The tower was finished in 1889. Cats sleep. It often rains."
PROMPT_LINE = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.lower()))


def by_rule(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Cite the sentences that share two long words with the question, as a labelling model would."""
    prompt = body["messages"][-1]["content"]
    query = re.search(r"^Question: (.*)$", prompt, re.MULTILINE)
    assert query
    cited = [index for index, sentence in PROMPT_LINE.findall(prompt) if len(words(query[1]) & words(sentence)) >= 2]
    text = "It says so " + "".join(f"[{index}]" for index in cited) if cited else "No answer"
    return completion(text, prompt_tokens=len(prompt) // 4, completion_tokens=5)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with chat_server(by_rule) as running:
        yield running


def pair(number: int, **changes: Any) -> Pair:
    values = {"id": f"p{number}", "query": "When was the tower finished?", "passage": f"{PASSAGE} Number {number}."}
    return Pair(**{**values, **changes})


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_json_lines(path, [pair(1), pair(2, query="Where do whales live?"), pair(3, title="Paris", query_id="q")])
    return path


def run(pairs: Path, server: Loopback, name: str = "labels.jsonl", **options: Any) -> tuple[list[Labelled], Any]:
    endpoint = server.endpoint(**{key: options.pop(key) for key in ("temperature", "max_tokens") if key in options})
    out = pairs.with_name(name)
    report = label(pairs, out, endpoint, LabelOptions(**options))
    return list(read_records(out, Labelled)), report


def test_labels_are_the_cited_sentences(pairs: Path, server: Loopback) -> None:
    (one, none, three), report = run(pairs, server)
    assert [
        one.passage[start:end].strip() for (start, end), kept in zip(one.units, one.labels, strict=True) if kept
    ] == ["The tower was finished in 1889."]
    assert "".join(one.passage[start:end] for start, end in one.units) == one.passage
    assert one.raw == ("It says so [2]",)
    assert one.usage["completion_tokens"] == 5
    assert (set(none.labels), none.answer) == ({0.0}, "")
    assert (three.title, three.query_id) == ("Paris", "q")
    assert "Title: Paris" in server.bodies[2] or any("Title: Paris" in body for body in server.bodies)
    assert (report.labelled, report.counts.kept_units) == (3, {0: 1, 1: 2})


def test_a_second_run_asks_nothing_and_writes_the_same(pairs: Path, server: Loopback) -> None:
    run(pairs, server)
    first = pairs.with_name("labels.jsonl").read_bytes()
    _, report = run(pairs, server)
    assert pairs.with_name("labels.jsonl").read_bytes() == first
    assert (len(server.bodies), report.sent, report.cached) == (3, 0, 3)


def test_equal_pairs_are_asked_once(tmp_path: Path, server: Loopback) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(1, id=str(number)) for number in range(20)])
    labels, _ = run(tmp_path / "pairs.jsonl", server)
    assert (len(labels), len(server.bodies)) == (20, 1)


def test_labels_of_several_samples_are_shares(pairs: Path, server: Loopback) -> None:
    server.behave = lambda body, number: completion("[2][3]" if body["seed"] == 0 else "[2]")
    (one, *_), _ = run(pairs, server, samples=4, temperature=0.7)
    assert one.labels[:4] == (0.0, 1.0, 0.25, 0.0)
    assert len(server.bodies) == 12


def test_several_samples_need_a_temperature(pairs: Path, server: Loopback) -> None:
    with pytest.raises(InputError, match="temperature: is 0 with 2 samples"):
        run(pairs, server, samples=2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("It was 1889.", "no_citation"),
        ("It was 1889 [99].", "bad_citation"),
        ("<think>[2] is it</think>", "empty"),
    ],
)
def test_a_reply_that_cannot_be_used_is_dropped_and_not_asked_for_again(
    pairs: Path, server: Loopback, text: str, reason: str
) -> None:
    server.behave = lambda body, number: completion(text)
    labels, report = run(pairs, server)
    assert (labels, report.dropped) == ([], {reason: 3})
    run(pairs, server)
    assert len(server.bodies) == 3


def test_a_reply_that_was_cut_off_is_dropped(pairs: Path, server: Loopback) -> None:
    def behave(body: dict[str, Any], number: int) -> dict[str, Any]:
        reply = completion("It was 1889 [2], and")
        reply["choices"][0]["finish_reason"] = "length"
        return reply

    server.behave = behave
    assert run(pairs, server)[1].dropped == {"cut_off": 3}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (JSONResponse({"error": "busy"}, 429), "status_429"),
        (JSONResponse({"error": "oops"}, 500), "status_500"),
        (Response('{"choices": [{"mess', media_type="application/json"), "not_json"),
        (JSONResponse({"choices": []}), "no_choices"),
    ],
)
def test_a_failing_endpoint_costs_the_pair_until_the_next_run(
    pairs: Path, server: Loopback, reply: Response, reason: str
) -> None:
    server.behave = lambda body, number: reply if "whales" in json.dumps(body) else by_rule(body, number)
    labels, report = run(pairs, server)
    assert ([one.id for one in labels], report.missing) == (["p1", "p3"], {reason: 1})
    server.behave = by_rule
    labels, report = run(pairs, server)
    assert ([one.id for one in labels], report.missing, report.sent) == (["p1", "p2", "p3"], {}, 1)


@pytest.mark.slow
def test_a_status_429_with_retry_after_is_waited_for(pairs: Path, server: Loopback) -> None:
    def behave(body: dict[str, Any], number: int) -> Any:
        return JSONResponse({}, 429, {"Retry-After": "1"}) if number == 1 else by_rule(body, number)

    server.behave = behave
    report = label(pairs, pairs.with_name("out.jsonl"), server.endpoint(retries=2), LabelOptions(concurrency=1))
    assert (report.labelled, len(server.bodies)) == (3, 4)


def test_a_slow_endpoint_times_out(pairs: Path, server: Loopback) -> None:
    server.hold_after = 0
    out = pairs.with_name("out.jsonl")
    with pytest.raises(EndpointError, match="no reply within"):
        for _ in range(21):  # it ends after many failures in a row; 3 pairs do not get there
            report = label(pairs, out, server.endpoint(timeout_s=0.2), LabelOptions())
            assert report.missing == {"timeout": 3}
            raise EndpointError("no reply within: as expected")


def test_an_endpoint_that_is_down_ends_the_run_and_writes_nothing(pairs: Path, server: Loopback) -> None:
    from dataclasses import replace

    endpoint = replace(server.endpoint(), base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="start the server"):
        label(pairs, pairs.with_name("out.jsonl"), endpoint, LabelOptions())
    assert not pairs.with_name("out.jsonl").exists()


def test_the_cost_never_passes_the_bound_over_all_runs(tmp_path: Path, server: Loopback) -> None:
    path = tmp_path / "pairs.jsonl"
    write_json_lines(path, [pair(number) for number in range(40)])
    options = LabelOptions(prices=Prices(1.0, 2.0), max_cost=0.0025, concurrency=4)
    endpoint = server.endpoint(max_tokens=50)
    first = label(path, tmp_path / "labels.jsonl", endpoint, options)
    assert 0 < first.labelled < 40
    assert first.missing == {"not_asked": 40 - first.labelled}
    assert 0.001 < first.cost <= 0.0025
    asked = len(server.bodies)
    again = label(path, tmp_path / "labels.jsonl", endpoint, options)
    assert (len(server.bodies), again.cost) == (asked, first.cost)
    more = label(path, tmp_path / "labels.jsonl", endpoint, LabelOptions(prices=Prices(1.0, 2.0), max_cost=1.0))
    assert (more.labelled, len(server.bodies)) == (40, 40)


def test_a_bound_without_prices_is_refused() -> None:
    with pytest.raises(InputError, match=r"max_cost: 1\.0 needs prices"):
        LabelOptions(max_cost=1.0)


@pytest.mark.slow
def test_requests_keep_to_the_rate(tmp_path: Path, server: Loopback) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(number) for number in range(6)])
    began = time.monotonic()
    run(tmp_path / "pairs.jsonl", server, requests_per_minute=300)
    assert time.monotonic() - began >= 5 * 60 / 300 * 0.9  # a bound that no slow machine breaks


def test_no_more_requests_are_under_way_than_asked_for(tmp_path: Path, server: Loopback) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(number) for number in range(30)])
    run(tmp_path / "pairs.jsonl", server, concurrency=3)
    assert server.peak <= 3


def test_pairs_that_cannot_be_asked_for(tmp_path: Path, server: Loopback) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(1, passage=""), pair(2, passage=" \n"), pair(3, query=" ")])
    _, report = run(tmp_path / "pairs.jsonl", server)
    assert (report.dropped, server.bodies) == ({"no_units": 3}, [])


def test_a_duplicate_id(tmp_path: Path, server: Loopback) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(1), pair(1)])
    with pytest.raises(DataError, match="duplicate id 'p1'"):
        run(tmp_path / "pairs.jsonl", server)


def test_a_broken_line_is_named(tmp_path: Path, server: Loopback) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"id": "a", "query": "q", "passage": "p"}\n{"id": "b", "query": 3}\n')
    with pytest.raises(DataError, match=r"pairs.jsonl, line 2: query: .*got 3"):
        run(tmp_path / "pairs.jsonl", server)


def test_a_projection_sends_nothing(pairs: Path, server: Loopback) -> None:
    options = LabelOptions(prices=Prices(1.0, 2.0))
    projection = project(pairs, pairs.with_name("out.jsonl"), server.endpoint(max_tokens=100), options)
    assert (projection.pairs, projection.requests, projection.completion_tokens) == (3, 3, 300)
    assert projection.cost is not None and 0.0006 < projection.cost < 0.002
    assert "[2] The tower was finished in 1889." in projection.prompts[0]
    assert server.bodies == []
    label(pairs, pairs.with_name("out.jsonl"), server.endpoint(max_tokens=100), options)
    assert project(pairs, pairs.with_name("out.jsonl"), server.endpoint(max_tokens=100), options).requests == 0


def test_labels_by_known_answers(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "pairs.jsonl", [pair(1, answers=("in 1889",)), pair(2, answers=("1900",)), pair(3)])
    report = label_by_answers(tmp_path / "pairs.jsonl", tmp_path / "labels.jsonl")
    one, two = read_records(tmp_path / "labels.jsonl", Labelled)
    assert one.labels == (0.0, 1.0, 0.0, 0.0, 0.0)
    assert set(two.labels) == {0.0}
    assert report.dropped == {"no_answers_known": 1}


def one_unit_a_line(text: str, segmenter: Any) -> list[Unit]:
    ends = [match.end() for match in re.finditer(r"[^\n]*(?:\n|$)", text) if match.group()]
    return [Unit(start, end, "sentence") for start, end in zip([0, *ends], ends, strict=False)]


def test_units_are_those_of_the_pairs_format(tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "by_line", Format("", one_unit_a_line))
    log = "Tower. Finished in 1889.\nCats. Sleep.\n"
    write_json_lines(tmp_path / "pairs.jsonl", [pair(1, passage=log, format="by_line", answers=("1889",))])
    (one,), _ = run(tmp_path / "pairs.jsonl", server)
    assert (one.units, one.format) == (((0, 25), (25, 38)), "by_line")
    label_by_answers(tmp_path / "pairs.jsonl", tmp_path / "spans.jsonl")
    (two,) = read_records(tmp_path / "spans.jsonl", Labelled)
    assert (two.units, two.labels) == (one.units, (1.0, 0.0))


def test_markup_is_neither_shown_nor_labelled(tmp_path: Path, server: Loopback) -> None:
    page = "<p>Cats sleep.</p><p>The tower was finished in <b>1889</b>.</p>"
    source, out = tmp_path / "pairs.jsonl", tmp_path / "labels.jsonl"
    write_json_lines(source, [pair(1, passage=page, format="html")])
    projection = project(source, out, server.endpoint(max_tokens=9), LabelOptions())
    assert "Passage:\n[1] Cats sleep.\n[2] The tower was finished in 1889 .\n" in projection.prompts[0]
    (one,), _ = run(source, server)
    assert one.labels == (0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert page[slice(*one.units[4])] == "The tower was finished in <b>1889</b>."


def command(pairs: Path, server: Loopback, out: Path, *more: str) -> list[str]:
    where = ["--in", str(pairs), "--out", str(out), "--base-url", server.url, "--llm", "model"]
    return ["data", "label", *where, "--concurrency", "4", *more]


def test_the_command(pairs: Path, server: Loopback, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    out = pairs.with_name("labels.jsonl")
    assert main(command(pairs, server, out, "--dry-run")) == 0
    assert "3 pairs, 3 requests" in capsys.readouterr().out
    assert main(command(pairs, server, out)) == 0
    assert "3 pairs labelled, 1 of them without an answer" in capsys.readouterr().out
    assert server.headers["authorization"] == "Bearer sk-of-the-environment"
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {"id", "units", "labels", "answer", "raw", "usage"} <= set(rows[0])


def test_the_command_fails_where_pairs_lack(pairs: Path, server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    server.behave = lambda body, number: JSONResponse({}, 500) if number == 2 else by_rule(body, number)
    assert main(command(pairs, server, pairs.with_name("out.jsonl"), "--retries", "0")) == 1
    assert "1 requests got no reply" in capsys.readouterr().err
    assert main(command(pairs, server, pairs.with_name("out.jsonl"), "--retries", "0")) == 0


@pytest.mark.slow
def test_a_run_that_is_killed_twice_asks_nothing_twice(tmp_path: Path, server: Loopback) -> None:
    """Killed while requests wait for their replies: those were never answered, all others are never asked again."""
    pairs = tmp_path / "pairs.jsonl"
    write_json_lines(pairs, [pair(number) for number in range(120)])
    chooser = random.Random(7)
    stops = sorted(chooser.sample(range(5, 115), 2))
    out = tmp_path / "killed" / "labels.jsonl"
    answered: list[str] = []

    def behave(body: dict[str, Any], number: int) -> dict[str, Any]:
        answered.append(json.dumps(body, sort_keys=True))
        return by_rule(body, number)

    server.behave = behave
    start = [sys.executable, "-m", "secateur", *command(pairs, server, out)]
    for stop in stops:
        # The server falls silent after so many replies in all, and the run is killed while it waits.
        server.hold_after = len(server.bodies) + stop - len(answered)
        process = subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while len(answered) < stop or server.active < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        cache = out.with_name(f"{out.name}.replies")
        while sum(1 for _ in cache.glob("*/*.json")) < stop:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists()
        while server.active:  # it notices that nobody waits any more
            server.release.set()
            time.sleep(0.02)
        del answered[stop:]
        server.release.clear()
    server.hold_after = None
    subprocess.run(start, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert len(answered) == len(set(answered)) == 120

    unbroken = tmp_path / "unbroken" / "labels.jsonl"
    before = len(server.bodies)
    assert main(command(pairs, server, unbroken)) == 0
    assert len(server.bodies) - before == 120
    assert unbroken.read_bytes() == out.read_bytes()
