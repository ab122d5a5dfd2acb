"""HTTP/1.1 by uvicorn, with bounds: on a request's head, on clients that do not read, and on open connections."""

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
_BYTES_A_SECOND = 65_536  # of an answer; a client that reads more slowly is let go


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


class Crowd:
    """The connections whose request has not arrived whole, in the order in which they began to wait for it.

    Args:
        max_connections: of the process, with those whose request has arrived.
    """

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self._receiving: dict[PatientProtocol, None] = {}

    def note(self, connection: PatientProtocol, receiving: bool) -> None:
        """Take note of whether a connection waits for the rest of a request."""
        if receiving:
            self._receiving.setdefault(connection)
        else:
            self._receiving.pop(connection, None)

    def oldest(self) -> PatientProtocol | None:
        """Return the one that has waited longest."""
        return next(iter(self._receiving), None)


class PatientProtocol(H11Protocol):
    """uvicorn's protocol; its own timer runs only while a connection that was used before is silent.

    Args:
        crowd: of all connections of the process.
        patience_s: seconds for a request's head, and for the client to read on.
        arguments: of uvicorn's protocol.
    """

    def __init__(self, *arguments: Any, crowd: Crowd, patience_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._crowd = crowd
        self._patience_s = patience_s
        self._unread = 0  # bytes of answers that the client had left unread when it was looked at last
        self._head_timer = _Timer(self.loop, patience_s, self._give_up)
        self._write_timer = _Timer(self.loop, patience_s, self._check_reading)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; in a crowd, in the place of whoever has waited longest."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # `pause_writing` as soon as the client does not read
        if len(self.connections) > self._crowd.max_connections:
            if (oldest := self._crowd.oldest()) is None:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "all connections are in use; try again later")
                return
            # It leaves at once: its `connection_lost` comes only after those that connect now.
            self.connections.discard(oldest)
            self._crowd.note(oldest, receiving=False)
            oldest.transport.abort()
        self._crowd.note(self, receiving=True)
        self._head_timer.start()

    def data_received(self, data: bytes) -> None:
        """Take in data; time runs while they end within a head."""
        super().data_received(data)
        self._note()
        if self.conn.their_state is not h11.IDLE:
            self._head_timer.stop()
        elif not self.transport.is_closing():
            self._head_timer.start()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note()

    def _note(self) -> None:
        receiving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
        self._crowd.note(self, receiving)

    def _give_up(self) -> None:
        # Between requests of one connection uvicorn's timer runs; a head that has come meanwhile is being answered.
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read what it is sent: it has so long to go on."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._write_timer.start()

    def _check_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < self._patience_s * _BYTES_A_SECOND:
            self.transport.abort()
        else:
            self._unread = unread
            self._write_timer.start()

    def resume_writing(self) -> None:
        """It has read everything."""
        super().resume_writing()
        self._write_timer.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._head_timer.stop()
        self._write_timer.stop()
        self._crowd.note(self, receiving=False)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered."""
        detail = f"this is no HTTP/1.1 request, or its head has more than {MAX_HEAD_BYTES} bytes"
        self._refuse(HTTPStatus.BAD_REQUEST, detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without the application, and close."""
        content = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status,
            "detail": detail,
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
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        try:
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # the response to a request has begun, whose body turned out to be no HTTP
            pass
        self.transport.close()
