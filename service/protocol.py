"""HTTP/1.1 of uvicorn, with limits on request heads, on clients that do not read, and on open connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from secateur.service.exchange import valid_id
from secateur.service.problems import problem_content
from secateur.service.settings import Settings

MAX_HEAD_BYTES = 65_536
_BYTES_PER_SECOND = 65_536  # of an answer; the connection of a slower client is closed


class _Timer:
    """Calls a function some time after its start, unless it is stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, function: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._function = function
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the timer unless it runs."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._handle = None
        self._function()

    def stop(self) -> None:
        """Stop the timer if it runs."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with limits. uvicorn's own timer runs only while a reused connection is idle.

    ``receiving`` are all connections of the process whose request is incomplete, the one that waits longest first.
    """

    def __init__(
        self, *arguments: Any, settings: Settings, receiving: dict[BoundedProtocol, None], **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._max_connections = settings.max_connections
        self._timeout_s = settings.receive_timeout_s
        self._receiving = receiving
        self._unread = 0  # bytes of answers that the client had not read at the last check
        self._head_timer = _Timer(self.loop, self._timeout_s, self._end_head)
        self._write_timer = _Timer(self.loop, self._timeout_s, self._check_reading)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request. If there are too many connections, the one that has waited longest is closed."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # call `pause_writing` as soon as the client does not read
        if len(self.connections) > self._max_connections:
            oldest = next(iter(self._receiving), None)
            if oldest is None:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "all connections are in use; try again later")
                return
            # Removed now: its `connection_lost` is called only after the next connections are made.
            self.connections.discard(oldest)
            del self._receiving[oldest]
            oldest.transport.abort()
        self._receiving[self] = None
        self._head_timer.start()

    def data_received(self, data: bytes) -> None:
        """Process data. The timer runs while a head is incomplete."""
        super().data_received(data)
        self._update()
        if self.conn.their_state is not h11.IDLE:
            self._head_timer.stop()
        elif not self.transport.is_closing():
            self._head_timer.start()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._update()

    def _update(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            self._receiving.setdefault(self)
        else:
            self._receiving.pop(self, None)

    def _end_head(self) -> None:
        # Between two requests uvicorn's timer runs. A head that has arrived by now is being answered.
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the timer: the client does not read its answer."""
        super().pause_writing()
        self._watch_reading()

    def _watch_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._write_timer.start()

    def _check_reading(self) -> None:
        if self._unread - self.transport.get_write_buffer_size() < self._timeout_s * _BYTES_PER_SECOND:
            self.transport.abort()
        else:
            self._watch_reading()

    def resume_writing(self) -> None:
        """Stop the timer: the client has read everything."""
        super().resume_writing()
        self._write_timer.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._head_timer.stop()
        self._write_timer.stop()
        self._receiving.pop(self, None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with problem details, like every other error."""
        detail = f"not an HTTP/1.1 request, or its head is larger than {MAX_HEAD_BYTES} bytes; send valid HTTP/1.1"
        self._refuse(HTTPStatus.BAD_REQUEST, detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without the application, and close the connection."""
        id = valid_id(None)
        body = json.dumps(problem_content(status, detail, "", id)).encode()
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
        except h11.LocalProtocolError:  # the body of a request that is being answered turned out to be invalid HTTP
            pass
        self.transport.close()
