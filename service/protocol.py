"""HTTP/1.1 of uvicorn, with limits on request heads, on clients that do not read, and on open connections."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from secateur.service.exchange import valid_id
from secateur.service.problems import problem_content

MAX_HEAD_BYTES = 65_536
_BYTES_PER_SECOND = 65_536  # of an answer; the connection of a slower client is closed


class ReceivingConnections:
    """The connections whose request is incomplete, in the order in which they started to wait for it.

    Args:
        max_connections: Largest number of all connections of the process.
    """

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self._receiving: dict[BoundedProtocol, None] = {}

    def update(self, connection: BoundedProtocol, *, receiving: bool) -> None:
        """Record whether a connection waits for the rest of a request."""
        if receiving:
            self._receiving.setdefault(connection)
        else:
            self._receiving.pop(connection, None)

    def oldest(self) -> BoundedProtocol | None:
        """Return the connection that has waited longest."""
        return next(iter(self._receiving), None)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with limits. uvicorn's own timer runs only while a reused connection is idle.

    Args:
        arguments: Arguments of uvicorn's protocol.
        receiving: Connections of the process whose request is incomplete.
        timeout_s: Time for the head of a request, and for the client to continue reading.
        named: Arguments of uvicorn's protocol.
    """

    def __init__(self, *arguments: Any, receiving: ReceivingConnections, timeout_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._receiving = receiving
        self._timeout_s = timeout_s
        self._unread = 0  # bytes of answers that the client had not read at the last check
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request. If there are too many connections, the one that has waited longest is closed."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # call `pause_writing` as soon as the client does not read
        if len(self.connections) > self._receiving.max_connections:
            if (oldest := self._receiving.oldest()) is None:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "all connections are in use; try again later")
                return
            # Removed now: its `connection_lost` is called only after the next connections are made.
            self.connections.discard(oldest)
            self._receiving.update(oldest, receiving=False)
            oldest.transport.abort()
        self._receiving.update(self, receiving=True)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Process data. The timer runs while a head is incomplete."""
        super().data_received(data)
        self._update()
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif not self.transport.is_closing():
            self._start_head_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._update()

    def _update(self) -> None:
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
        self._receiving.update(self, receiving=waits)

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._timeout_s, self._end_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_head(self) -> None:
        self._head_timer = None
        # Between two requests uvicorn's timer runs. A head that has arrived by now is being answered.
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the timer: the client does not read its answer."""
        super().pause_writing()
        self._watch_reading()

    def _watch_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._timeout_s, self._check_reading)

    def _check_reading(self) -> None:
        self._write_timer = None
        if self._unread - self.transport.get_write_buffer_size() < self._timeout_s * _BYTES_PER_SECOND:
            self.transport.abort()
        else:
            self._watch_reading()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def resume_writing(self) -> None:
        """Stop the timer: the client has read everything."""
        super().resume_writing()
        self._stop_write_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        self._stop_write_timer()
        self._receiving.update(self, receiving=False)
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
