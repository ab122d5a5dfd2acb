from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_server import Loopback, chat_server, completion
from fastapi.responses import JSONResponse
from tiny_models import write_cross_encoder

from secateur.cli import main
from secateur.data_scripts.records import Candidate, Candidates, read_records
from secateur.data_scripts.teacher import run
from secateur.data_scripts.teacher.llm_judge import TeachOptions
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import BudgetError, Prices
from secateur.llm.endpoint import EndpointError
from secateur.models.errors import DataError, InputError, ModelError
from secateur.models.pruner import Pruner

# The retriever's order is wrong: the grade at the end of each text is what the models on the server go by.
TEXTS = [
    "Cats sleep, grade 1",
    "The tower was finished in March, grade 3",
    "It often rains, grade 0",
    "The tower was finished in 1889, grade 4",
    "A tower is tall, grade 2",
]
RIGHT = [3, 1, 4, 0, 2]
GRADE = re.compile(r"grade (\d)")


def passages(count: int = len(TEXTS)) -> tuple[Candidate, ...]:
    return tuple(Candidate(f"c{i}", text, rank=i + 1, score=1 / (i + 1)) for i, text in enumerate(TEXTS[:count]))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "candidates.jsonl"
    rows = [Candidates("q1", "When was the tower finished?", passages(), "c3"), Candidates("q2", "Rain?", passages(1))]
    write_json_lines(path, rows)
    return path


def grades(body: dict[str, Any]) -> list[int]:
    return [int(grade) for grade in GRADE.findall(body["messages"][0]["content"])]


def telling(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Say yes with a probability by the grade."""
    (grade,) = grades(body)
    yes = 0.1 + 0.2 * grade
    tokens = [{"token": "Yes", "logprob": math.log(yes)}, {"token": "No", "logprob": math.log(1 - yes)}]
    reply = completion("Yes" if yes > 0.5 else "No", prompt_tokens=9, completion_tokens=1)
    if body.get("logprobs"):
        reply["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -1.0, "top_logprobs": tokens}]}
    return reply


def choosing(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Prefer the higher grade, but of grades next to each other always the first passage, as models do."""
    a, b = grades(body)
    return completion("Passage A" if a > b or abs(a - b) == 1 else "Passage B")


def fair(body: dict[str, Any], number: int) -> dict[str, Any]:
    a, b = grades(body)
    return completion("Passage A" if a > b else "Passage B")


def ordering(body: dict[str, Any], number: int) -> dict[str, Any]:
    found = grades(body)
    order = sorted(range(len(found)), key=lambda row: -found[row])
    return completion(" > ".join(f"[{row + 1}]" for row in order))


def scores(path: Path) -> list[float | None]:
    return [passage.teacher_score for passage in next(read_records(path, Candidates)).passages]


def order(path: Path) -> list[int]:
    found = scores(path)
    assert all(score is not None for score in found)
    return sorted(range(len(found)), key=lambda row: -(found[row] or 0))


def test_pointwise_by_log_probabilities(source: Path, tmp_path: Path) -> None:
    with chat_server(telling) as server:
        report = run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(max_tokens=8), TeachOptions())
        assert all(json.loads(body)["top_logprobs"] == 20 for body in server.bodies)
    odds = [math.log(p / (1 - p)) for p in (0.3, 0.7, 0.1, 0.9, 0.5)]
    assert scores(tmp_path / "out.jsonl") == pytest.approx(odds, abs=1e-5)
    assert (report.queries, report.scored, report.unscored, report.sent) == (2, 6, 0, 6)
    first = next(read_records(tmp_path / "out.jsonl", Candidates))
    assert (first.chunk_id, [passage.rank for passage in first.passages]) == ("c3", [1, 2, 3, 4, 5])


def test_pointwise_by_text_where_log_probabilities_are_refused(source: Path, tmp_path: Path) -> None:
    def behave(body: dict[str, Any], number: int) -> Any:
        if "logprobs" in body:
            return JSONResponse({"error": "unknown field logprobs"}, status_code=400)
        return telling(body, number)

    with chat_server(behave) as server:
        report = run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(), TeachOptions())
        assert sum("logprobs" in body for body in server.bodies) == 1
    assert scores(tmp_path / "out.jsonl") == [-4, 4, -4, 4, -4]
    assert report.missing.total() == 0


@pytest.mark.parametrize("sorting", ["allpair", "heapsort", "sliding"])
def test_pairwise(source: Path, tmp_path: Path, sorting: Any) -> None:
    options = TeachOptions(mode="pairwise", sorting=sorting)
    with chat_server(fair) as server:
        run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(), options)
        assert len(set(server.bodies)) == len(server.bodies)
    assert order(tmp_path / "out.jsonl") == RIGHT
    assert sum(score or 0 for score in scores(tmp_path / "out.jsonl")) == pytest.approx(0, abs=1e-5)
    second = list(read_records(tmp_path / "out.jsonl", Candidates))[1]
    assert second.passages[0].teacher_score == 0


def test_both_orders_cancel_the_preference_for_a_place(source: Path, tmp_path: Path) -> None:
    options = TeachOptions(mode="pairwise", sorting="allpair")
    with chat_server(choosing) as server:
        run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(), options)
        assert len(server.bodies) == 5 * 4
    assert order(tmp_path / "out.jsonl") == RIGHT
    # The best beats three and ties with its neighbour: 3.5 of 4.
    assert scores(tmp_path / "out.jsonl")[3] == pytest.approx(math.log(4 / 1), abs=1e-5)


def test_listwise_in_windows(source: Path, tmp_path: Path) -> None:
    options = TeachOptions(mode="listwise", window=3, step=2)
    with chat_server(ordering) as server:
        run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(), options)
        assert len(server.bodies) == 2
    assert order(tmp_path / "out.jsonl")[:2] == RIGHT[:2]


def test_what_cannot_be_read_or_is_not_answered_has_no_score(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(body: dict[str, Any], number: int) -> Any:
        grade = grades(body)[0]
        if grade == 4:
            return JSONResponse({"error": "busy"}, status_code=500)
        return completion("Perhaps") if grade == 2 else telling(body, number)

    out = tmp_path / "out.jsonl"
    with chat_server(behave) as server:
        report = run.teach_by_endpoint(source, out, server.endpoint(), TeachOptions(concurrency=1))
        assert [score is None for score in scores(out)] == [False, False, False, True, True]
        assert (report.missing, report.dropped, report.unscored) == ({"status_500": 1}, {"unreadable": 1}, 2)
        assert "2 passages have no teacher_score" in caplog.text
        asked = len(server.bodies)
        server.behave = telling
        again = run.teach_by_endpoint(source, out, server.endpoint(), TeachOptions())
        # Only the one that failed is asked again; what could not be read stays so.
        assert len(server.bodies) == asked + 1
        assert (again.sent, again.unscored, again.missing.total()) == (1, 1, 0)


@pytest.mark.parametrize(("mode", "text"), [("listwise", "I cannot"), ("pairwise", None)])
def test_a_query_without_a_verdict_keeps_no_score(source: Path, tmp_path: Path, mode: Any, text: str | None) -> None:
    def behave(body: dict[str, Any], number: int) -> Any:
        return completion(text)

    with chat_server(behave) as server:
        options = TeachOptions(mode=mode, sorting="heapsort", concurrency=2)
        report = run.teach_by_endpoint(source, tmp_path / "out.jsonl", server.endpoint(), options)
    assert scores(tmp_path / "out.jsonl") == [None] * 5
    assert report.unscored == 5


def test_an_endpoint_that_is_not_there_ends_the_run(source: Path, tmp_path: Path) -> None:
    endpoint = Loopback(telling, "http://127.0.0.1:9/v1").endpoint()
    with pytest.raises(EndpointError, match="start the server"):
        run.teach_by_endpoint(source, tmp_path / "out.jsonl", endpoint, TeachOptions())
    assert not (tmp_path / "out.jsonl").exists()


def test_the_budget_is_of_the_job(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = TeachOptions(
        concurrency=1, prices=Prices(1e6, 1e6), max_cost=190.0
    )  # one a token, at most some 160 a request
    with chat_server(telling) as server:
        report = run.teach_by_endpoint(source, out, server.endpoint(max_tokens=8), options)
        asked = len(server.bodies)
        assert isinstance(report.stopped, BudgetError)
        assert 0 < asked < 6 and report.cost == 10 * asked and report.missing["not_asked"] == 6 - asked
        run.teach_by_endpoint(source, out, server.endpoint(max_tokens=8), options)
        assert len(server.bodies) == asked


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    return write_cross_encoder(tmp_path_factory.mktemp("cross_encoder"), base_model)


@pytest.mark.slow
def test_a_cross_encoders_logits(source: Path, tmp_path: Path, cross_encoder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    report = run.teach_by_model(source, tmp_path / "out.jsonl", cross_encoder, batch=2)
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    model = BertForSequenceClassification.from_pretrained(cross_encoder).eval()
    inputs = tokenizer(["When was the tower finished?"] * 5, TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[:, 0].tolist()
    assert scores(tmp_path / "out.jsonl") == pytest.approx(logits, abs=1e-4)
    assert (report.queries, report.scored) == (2, 6)
    assert not (tmp_path / "out.jsonl.progress").exists()


def test_scored_blocks_are_not_scored_again(
    source: Path, tmp_path: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    monkeypatch.setattr(run, "_BLOCK", 1)
    run.teach_by_model(source, tmp_path / "whole.jsonl", cross_encoder)
    good = source.read_text()
    # The second line breaks off: the run ends behind the first block, as if it had been killed there.
    source.write_text(good.splitlines()[0] + '\n{"id": \n')
    with pytest.raises(DataError, match="line 2: is not JSON"):
        run.teach_by_model(source, out, cross_encoder)
    (block,) = (tmp_path / "out.jsonl.progress").rglob("*.json")
    block.write_text("[[1, 2, 3, 4, 5]]")
    with pytest.raises(DataError):
        run.teach_by_model(source, out, cross_encoder)
    assert block.read_text() == "[[1, 2, 3, 4, 5]]"  # taken as it is
    source.write_text(good)  # other candidates: that block is stale
    run.teach_by_model(source, out, cross_encoder)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.slow
def test_a_secateur_model_as_teacher(source: Path, tmp_path: Path, pruner: Pruner) -> None:
    assert pruner.directory is not None
    run.teach_by_model(source, tmp_path / "out.jsonl", pruner.directory)
    found = scores(tmp_path / "out.jsonl")
    assert order(tmp_path / "out.jsonl")[0] in (1, 3)
    relevance = pruner.prune("When was the tower finished?", [TEXTS[3]]).results[0].score
    assert 1 / (1 + math.exp(-(found[3] or 0))) == pytest.approx(max(min(relevance, 1 - 4.6e-5), 4.6e-5), abs=1e-3)


def test_models_that_are_no_teachers(source: Path, tmp_path: Path, base_model: Path, cross_encoder: Path) -> None:
    with pytest.raises(ModelError, match="has no classification head"):
        run.teach_by_model(source, tmp_path / "out.jsonl", base_model)
    with pytest.raises(ModelError, match="no model directory"):
        run.teach_by_model(source, tmp_path / "out.jsonl", tmp_path / "nowhere")
    shutil.copytree(cross_encoder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="is not a cross-encoder"):
        run.teach_by_model(source, tmp_path / "out.jsonl", tmp_path / "broken")


@pytest.mark.parametrize(
    "changes", [{"mode": "x"}, {"sorting": "x"}, {"window": 1}, {"step": 30}, {"passes": 0}, {"max_cost": 1.0}]
)
def test_options_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        TeachOptions(**changes)


def test_candidates_without_a_passage(tmp_path: Path, pruner: Pruner) -> None:
    write_json_lines(tmp_path / "in.jsonl", [Candidates("q", "Why?", ())])
    assert pruner.directory is not None
    with pytest.raises(DataError, match="no query has a passage"):
        run.teach_by_model(tmp_path / "in.jsonl", tmp_path / "out.jsonl", pruner.directory)


def test_the_command(source: Path, tmp_path: Path, cross_encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.jsonl")
    assert main(["data", "teach", str(source), "--out", out, "--teacher", str(cross_encoder)]) == 0
    assert capsys.readouterr().out == "2 queries, 6 passages scored\n"
    with chat_server(ordering) as server:
        flags = ["--base-url", server.url, "--llm", "m", "--mode", "listwise"]
        assert main(["data", "teach", str(source), "--out", out, *flags]) == 0
        assert json.loads(server.bodies[0])["max_tokens"] == 512
    assert "1 requests, 0 replies from the cache" in capsys.readouterr().out
    assert main(["data", "teach", str(source), "--out", out]) != 0
    assert "--teacher: is missing" in capsys.readouterr().err
