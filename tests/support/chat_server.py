"""A loopback server that speaks the chat completions protocol, well or badly."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from secateur.llm.endpoint import Endpoint

PATIENCE = 300.0  # seconds; a machine that also trains is slow
KEY = "sk-loopback-0123456789abcdef"


def completion(text: str | None, **usage: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


Reply = dict[str, Any] | Response
# From the request's body and its number, counted from 1, to a reply.
Behaviour = Callable[[dict[str, Any], int], Reply]


@dataclass
class Loopback:
    """The server's state, for tests to set and read.

    Attributes:
        behave: what to reply; may be exchanged at any time.
        url: to give as base URL.
        hold_after: requests after this many wait until `release` is set.
        bodies: of all requests so far, as canonical JSON.
        headers: of the last request.
        active: requests under way.
        peak: most requests under way at once so far.
    """

    behave: Behaviour
    url: str = ""
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


@contextmanager
def chat_server(behave: Behaviour) -> Iterator[Loopback]:
    """Run a server on a free port."""
    state = Loopback(behave)
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
