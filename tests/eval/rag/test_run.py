from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import JSONResponse

from secateur.eval.rag.prompts import answer_messages, contexts
from secateur.eval.rag.report import rag_table
from secateur.eval.rag.run import run_rag
from secateur.labelled.examples import read_examples
from secateur.llm.budget import Prices
from secateur.llm.endpoint import EndpointError
from secateur.models.errors import DataError, InputError
from secateur.models.pruner import Pruner

PATIENCE = 300.0  # seconds
QUESTIONS = 4
ANSWERS = 3 * QUESTIONS


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rag.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_whole_run(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    answerer, judge = loopback.endpoint("small"), loopback.endpoint("large")
    out = tmp_path / "out"
    report = run_rag(pruner, data, answerer, judge, out=out, prices=Prices(1.0, 2.0), concurrency=2)

    assert json.loads((out / "rag.json").read_text(encoding="utf-8")) == report
    assert report["skipped"] == {"no_answers": 1}
    full, pruned, none = (report["contexts"][name] for name in ("full", "pruned", "none"))
    for figures in (full, pruned, none):
        assert figures["answered"] == QUESTIONS
        assert figures["failures"] == figures["judge_failures"] == {}
        # The honest judge knows equality only.
        assert figures["judge"] == figures["exact_match"]
        assert figures["cost"]["n"] == QUESTIONS
    assert full["exact_match"]["mean"] == full["f1"]["mean"] == 1.0
    assert none["exact_match"]["mean"] == none["f1"]["mean"] == 0.0
    assert pruned["exact_match"]["mean"] >= 0.75
    assert none["context_tokens"] == 0 < pruned["context_tokens"] < full["context_tokens"] / 2
    assert none["prompt_tokens"] < pruned["prompt_tokens"] < full["prompt_tokens"]
    assert full["cost"]["total"] > pruned["cost"]["total"] > none["cost"]["total"] > 0
    difference = report["differences"]["pruned-none"]["exact_match"]
    assert difference["mean"] == pruned["exact_match"]["mean"]
    assert difference["n"] == QUESTIONS
    assert report["sources"]["facts"]["full"]["exact_match"] == 1.0

    records = lines(out)
    assert [(record["id"], record["context"]) for record in records] == [
        (str(number), name) for number in range(QUESTIONS) for name in ("full", "pruned", "none")
    ]
    assert records[0]["answer"] == "Anna Lind"
    assert records[0]["judge"] is True
    assert records[2]["judge_reply"] == "**No**, it does not."

    table = rag_table(report)
    assert "| full | 4 | 0 | 1.000 [1.000, 1.000] |" in table
    assert "cost / 1000 questions" in table
    for path in out.rglob("*.json*"):
        assert "sk-loopback" not in path.read_text(encoding="utf-8")
    assert not list(out.rglob("*.partial"))


def test_a_second_run_asks_nothing_and_reports_the_same(
    pruner: Pruner, loopback: Any, data: Path, tmp_path: Path
) -> None:
    def run() -> dict[str, Any]:
        return run_rag(pruner, data, loopback.endpoint(), loopback.endpoint(), out=tmp_path)

    first, records = run(), lines(tmp_path)
    asked = len(loopback.bodies)
    assert asked == sum(calls["made"] for calls in first["calls"].values()) == len(set(loopback.bodies))
    second = run()
    assert len(loopback.bodies) == asked
    assert second["calls"] == {"answer": {"made": 0, "cached": ANSWERS}, "judge": {"made": 0, "cached": ANSWERS}}
    assert {**first, "calls": None} == {**second, "calls": None}
    assert lines(tmp_path) == records


@pytest.mark.slow
def test_a_killed_run_goes_on(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from secateur.llm.endpoint import Endpoint\nfrom secateur.eval.rag.run import run_rag\n"
        "from secateur.models.pruner import Pruner\n"
        "url, data, out = sys.argv[1:]\n"
        "run_rag(Pruner.load(device='cpu'), Path(data), Endpoint(url, 'model'), out=Path(out), concurrency=2)\n"
    )
    out = tmp_path / "out"
    loopback.hold_after = 5
    process = subprocess.Popen([sys.executable, "-c", script, loopback.url, str(data), str(out)], cwd=tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(loopback.bodies) < 7:  # five answered, and both workers wait
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    answered = loopback.bodies[:5]
    assert not (out / "rag.json").exists()
    loopback.release.set()
    report = run_rag(pruner, data, loopback.endpoint(), out=out, concurrency=2)
    assert report["calls"] == {"answer": {"made": ANSWERS - 5, "cached": 5}}
    assert not set(answered) & set(loopback.bodies[7:])
    assert report["contexts"]["full"]["exact_match"]["mean"] == 1.0
    assert report["contexts"]["full"]["judge"] is None


def test_failures_are_counted_by_reason_and_asked_again(
    pruner: Pruner, loopback: Any, data: Path, tmp_path: Path
) -> None:
    good = loopback.behave

    def sometimes(body: dict[str, Any], number: int) -> Any:
        prompt = body["messages"][-1]["content"]
        if "Candidate" in prompt:
            return {"choices": [{"message": {"content": "Hard to say."}}]} if "Lima" in prompt else good(body, number)
        if "Passages:" in prompt and "Peru" not in prompt and "oven" in prompt:
            return JSONResponse({"error": "the context is too long"}, 400)
        if "Emma" in prompt:
            return {"choices": []}
        if "race" in prompt:
            return {"choices": [{"message": {"content": "<think>I ran out"}}]}
        return good(body, number)

    loopback.behave = sometimes
    report = run_rag(pruner, data, loopback.endpoint(), loopback.endpoint(), out=tmp_path / "out", concurrency=1)
    full, none = report["contexts"]["full"], report["contexts"]["none"]
    assert full["failures"] == {"status_400": 3}
    assert full["answered"] == 1
    assert full["judge_failures"] == {"unparsable": 1}
    assert full["judge"] is None
    assert none["failures"] == {"empty": 1, "no_choices": 1}
    assert report["differences"]["pruned-full"]["exact_match"]["n"] == 1
    assert "| full | 1 | 3 |" in rag_table(report)
    failed = next(record for record in lines(tmp_path / "out") if record["failure"])
    assert "too long" in failed["failure"]["detail"]

    loopback.behave = good
    again = run_rag(pruner, data, loopback.endpoint(), loopback.endpoint(), out=tmp_path / "out", concurrency=1)
    assert again["contexts"]["full"]["failures"] == {}
    assert again["calls"]["answer"]["cached"] > 0


def test_an_endpoint_that_only_times_out_is_reported(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    loopback.hold_after = 0
    report = run_rag(pruner, data, loopback.endpoint(timeout_s=0.2), out=tmp_path / "out", concurrency=4)
    for figures in report["contexts"].values():
        assert figures["failures"] == {"timeout": QUESTIONS}
        assert figures["exact_match"] is None
    assert rag_table(report)


def test_a_refused_key_ends_the_run_at_once(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    loopback.behave = lambda body, number: JSONResponse({"error": "bad key"}, 401)
    with pytest.raises(EndpointError, match="API key"):
        run_rag(pruner, data, loopback.endpoint(), out=tmp_path / "out", concurrency=2)
    assert len(loopback.bodies) <= 2
    assert not (tmp_path / "out" / "rag.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_bound_on_calls_is_reached_and_holds(
    pruner: Pruner, loopback: Any, data: Path, tmp_path: Path, concurrency: int
) -> None:
    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        while loopback.active < concurrency and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)  # for one call too many to arrive
        loopback.release.set()

    loopback.hold_after = 0
    watcher = threading.Thread(target=watch)
    watcher.start()
    judge = loopback.endpoint("judge")
    run_rag(pruner, data, loopback.endpoint(), judge, out=tmp_path / "out", concurrency=concurrency)
    watcher.join()
    assert loopback.peak == concurrency


def test_the_limit_is_by_source_and_draws_the_same(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text(data.read_text(encoding="utf-8"), encoding="utf-8")
    report = run_rag(pruner, folder, loopback.endpoint(), out=tmp_path / "out", limit=1, concurrency=1)
    assert report["contexts"]["full"]["questions"] == 2
    assert report["skipped"] == {"no_answers": 2}
    records = lines(tmp_path / "out")
    assert [record["source"] for record in records] == ["a"] * 3 + ["b"] * 3
    assert records[0]["id"] == records[3]["id"]


def test_what_the_pruner_refuses_is_a_counted_skip(pruner: Pruner, loopback: Any, data: Path, tmp_path: Path) -> None:
    row = {"id": "empty", "query": " ", "passages": [{"text": "a"}], "answers": ["a"]}
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n" + json.dumps({**row, "query": "Who?", "passages": []}) + "\n")
    report = run_rag(pruner, data, loopback.endpoint(), out=tmp_path / "out")
    assert report["skipped"] == {"no_answers": 1, "refused_passages": 1, "refused_query": 1}
    assert report["contexts"]["full"]["questions"] == QUESTIONS


def test_the_contexts(pruner: Pruner, data: Path) -> None:
    example = next(iter(read_examples(data)))
    full, pruned, none = contexts(pruner, example, None)
    assert full.text.startswith("[1] Bread\nBread needs flour")
    assert "\n\n[2] Facts\nBread needs" in full.text
    assert "won by Anna Lind" in pruned.text
    assert full.tokens > pruned.tokens > none.tokens == 0
    nothing = contexts(pruner, replace(example, passages=example.passages[:1]), 1.0)[1]
    assert nothing.text == ""
    assert answer_messages("q", nothing.text) == answer_messages("q", none.text)


@pytest.mark.parametrize(
    "answers", ["Anna", 3, {"a": 1}, [1], ["a", None], ""], ids=["text", "int", "object", "ints", "null", "empty"]
)
def test_answers_of_a_wrong_type_are_a_data_error(tmp_path: Path, answers: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"query": "q", "passages": [], "answers": answers}), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: .*answers must be a list of strings"):
        list(read_examples(path))


def test_answers_are_optional(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"query": "q", "passages": []}, {"query": "q", "passages": [], "answers": None}]
    rows.append({"query": "q", "passages": [], "answers": ["a", "b"]})
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert [example.answers for example in read_examples(path)] == [(), (), ("a", "b")]


def test_data_without_any_answer_is_an_error(pruner: Pruner, loopback: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"query": "q", "passages": [{"text": "a"}], "answers": [" "]}), encoding="utf-8")
    with pytest.raises(DataError, match="no question has `answers`"):
        run_rag(pruner, path, loopback.endpoint(), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"limit": 0}, "limit"), ({"concurrency": 0}, "concurrency"), ({"threshold": 2}, "threshold")],
)
def test_bad_arguments_name_the_field(
    pruner: Pruner, loopback: Any, data: Path, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as error:
        run_rag(pruner, data, loopback.endpoint(), out=tmp_path / "out", **changes)
    assert error.value.field == field
    assert not loopback.bodies
