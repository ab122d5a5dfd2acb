"""A loopback server that speaks the chat completions protocol, well or badly, and a few questions to ask."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from secateur.eval.rag.endpoint import Endpoint

PATIENCE = 300.0  # seconds; a machine that also trains is slow
UNKNOWN = "I do not know"
KEY = "sk-loopback-0123456789abcdef"

# (question, its answer, a sentence with the answer)
FACTS = [
    ("Who won the race?", "Anna Lind", "The race was won by Anna Lind."),
    ("When was the Eiffel Tower finished?", "1889", "The Eiffel Tower was finished in 1889."),
    ("What is the capital of Peru?", "Lima", "The capital of Peru is Lima."),
    ("Who wrote the novel Emma?", "Jane Austen", "The novel Emma was written by Jane Austen."),
]
BESIDE = "Bread needs flour and water. It is baked for an hour. The oven must be hot. Cats sleep most of the day."


def facts_line(number: int, question: str, answer: str, sentence: str, **changes: Any) -> str:
    passages = [{"title": "Bread", "text": BESIDE}, {"title": "Facts", "text": f"{BESIDE} {sentence} It often rains."}]
    row = {"id": str(number), "query": question, "passages": passages, "answers": [answer], **changes}
    return json.dumps(row) + "\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four questions that one of two passages answers, and one without an answer."""
    path = tmp_path / "facts.jsonl"
    lines = [facts_line(number, *fact) for number, fact in enumerate(FACTS)]
    path.write_text("".join(lines) + facts_line(9, "Why?", "", "", answers=[]), encoding="utf-8")
    return path


def completion(text: str | None, **usage: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def honest(body: dict[str, Any]) -> dict[str, Any]:
    """Answer by the prompt alone: the gold answer when its sentence is shown; judge by equality."""
    prompt = body["messages"][-1]["content"]
    if "Candidate answer:" in prompt:
        right = any(f"- {answer}\n" in prompt and f"answer:\n{answer}\n" in prompt for _, answer, _ in FACTS)
        text = "Yes." if right else "**No**, it does not."
    else:
        fact = next(fact for fact in FACTS if fact[0] in prompt)
        text = fact[1] if fact[2] in prompt else UNKNOWN
    words = sum(len(message["content"].split()) for message in body["messages"])
    return completion(text, prompt_tokens=words, completion_tokens=len(text.split()))


Reply = dict[str, Any] | Response
# From the request's body and its number, counted from 1, to a reply.
Behaviour = Callable[[dict[str, Any], int], Reply]


@dataclass
class Loopback:
    """The server's state, for tests to set and read.

    Attributes:
        url: to give as base URL.
        behave: what to reply; may be exchanged at any time.
        hold_after: requests after this many wait until `release` is set.
        bodies: of all requests so far, as canonical JSON.
        headers: of the last request.
        active: requests under way.
        peak: most requests under way at once so far.
    """

    url: str = ""
    behave: Behaviour = lambda body, number: honest(body)
    hold_after: int | None = None
    release: threading.Event = field(default_factory=threading.Event)
    bodies: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    active: int = 0
    peak: int = 0

    def endpoint(self, model: str = "model", **changes: Any) -> Endpoint:
        return Endpoint(self.url, model, **{"api_key": KEY, "retries": 0, "timeout_s": PATIENCE, **changes})

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            body = await request.json()
            self.bodies.append(json.dumps(body, sort_keys=True))
            self.headers = dict(request.headers)
            number = len(self.bodies)
            self.active += 1
            self.peak = max(self.peak, self.active)
            try:
                while self.hold_after is not None and number > self.hold_after and not self.release.is_set():
                    await asyncio.sleep(0.02)
                reply = self.behave(body, number)
            finally:
                self.active -= 1
            return reply if isinstance(reply, Response) else JSONResponse(reply)

        return app


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running server, honest until told otherwise."""
    state = Loopback()
    server = uvicorn.Server(uvicorn.Config(state.app(), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    state.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    yield state
    state.release.set()
    server.should_exit = server.force_exit = True
    thread.join(PATIENCE)
