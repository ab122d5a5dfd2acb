"""HTTP/1.1 by uvicorn, with patience that ends: for a request's head, and for a client that reads no answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from secateur.service.exchange import sane_id

MAX_HEAD_BYTES = 65_536


class _Timer:
    """Calls back once, some seconds after it was started first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], object]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, unless it runs."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._handle = None
        self._call()

    def stop(self) -> None:
        """End without a call."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class PatientProtocol(H11Protocol):
    """uvicorn's protocol; its own timer runs only while a connection that was used before is silent.

    Args:
        patience_s: seconds for a request's head, and for the client to read on.
        arguments: of uvicorn's protocol.
    """

    def __init__(self, *arguments: Any, patience_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer = _Timer(self.loop, patience_s, self._give_up)
        self._write_timer = _Timer(self.loop, patience_s, lambda: self.transport.abort())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._head_timer.start()

    def data_received(self, data: bytes) -> None:
        """Take in data; time runs while they end within a head."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_timer.stop()
        elif not self.transport.is_closing():
            self._head_timer.start()

    def _give_up(self) -> None:
        # Between requests of one connection uvicorn's timer runs; a head that has come meanwhile is being answered.
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read what it is sent: it has so long to go on."""
        super().pause_writing()
        self._write_timer.start()

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        self._write_timer.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._head_timer.stop()
        self._write_timer.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus.BAD_REQUEST.phrase,
            "status": 400,
            "detail": f"this is no HTTP/1.1 request, or its head has more than {MAX_HEAD_BYTES} bytes",
            "instance": "",
            "request_id": (id := sane_id(None)),
        }
        body = json.dumps(content).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (b"x-request-id", id.encode()),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # the response to a request has begun, whose body turned out to be no HTTP
            pass
        self.transport.close()
