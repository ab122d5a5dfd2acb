"""Limits on request bodies, and what happens to a body that nobody has read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.models.errors import InputError
from secateur.service.errors import (
    BodyTooLargeError,
    BodyTypeError,
    OverloadedError,
    SlowBodyError,
    UnreadableBodyError,
)
from secateur.service.middleware import HTTPMiddleware
from secateur.service.problems import error_response
from secateur.service.settings import Settings

BATCH_PATH = "/v1/prune/batch"
BATCH_BYTES = 1 << 20  # of the body of a batch in memory; the rest is in a temporary file

_BYTES_PER_SECOND = 65_536  # pace of the slowest body that is accepted
_FREE_BYTES = 65_536  # smaller bodies are not counted: they need little memory beside their connections
_RETRY_AFTER_S = 1

_PENDING_BYTES = 65_536  # of an unread body that is read before the answer
_PENDING_S = 0.2
_LINGER_S = 2.0
_CLOSE = (b"connection", b"close")


class BodyLimitMiddleware(HTTPMiddleware):
    """Limits the size, encoding and pace of each body, and the memory of all bodies. A body counts while it is read."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self.settings = settings
        self.bytes = 0  # of all bodies in memory

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on."""
        batch = scope["path"] == BATCH_PATH
        max_bytes = self.settings.max_batch_bytes if batch else self.settings.max_body_bytes
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if (error := _refusal(headers, max_bytes)) is not None:
            await error_response(Request(scope), error)(scope, receive, send)
            return
        announced = int(headers.get(b"content-length", b"0"))
        body = _Body(self, receive, announced, max_bytes, BATCH_BYTES if batch else max_bytes)
        try:
            await self.app(scope, body.receive, send)
        finally:
            self.bytes -= body.reserved


def _refusal(headers: dict[bytes, bytes], max_bytes: int) -> InputError | None:
    """Return why a body is not read at all."""
    length = headers.get(b"content-length", b"0")
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return UnreadableBodyError("content-length", "cannot be used with Transfer-Encoding", "send one of them")
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding != "identity":
        return BodyTypeError("content-encoding", f"{encoding!r} is not supported", "send the body uncompressed")
    if len(length) > 18 or int(length) > max_bytes:  # h11 has checked that it is a number
        return BodyTooLargeError(max_bytes)
    return None


class _Body:
    """The body of one request while it arrives, of which at most ``memory_bytes`` are in memory at once."""

    def __init__(
        self, limits: BodyLimitMiddleware, receive: Receive, announced: int, max_bytes: int, memory_bytes: int
    ) -> None:
        self._limits = limits
        self._receive = receive
        self._announced = announced
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._timeout_s = limits.settings.receive_timeout_s
        self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        self._bytes = 0
        self._ended = False
        self.reserved = 0

    async def receive(self) -> Message:
        """Return the next part of the body, or what follows it."""
        if self._ended:
            return await self._receive()
        self._reserve()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise SlowBodyError from None
        size = len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
        self._reserve()
        # Bytes extend the deadline at the slowest pace, but no client can save up more than one timeout.
        latest = asyncio.get_running_loop().time() + self._timeout_s
        self._deadline = min(self._deadline + size / _BYTES_PER_SECOND, latest)
        return message

    def _reserve(self) -> None:
        """Reserve memory for what has arrived or is announced."""
        size = max(self._announced, self._bytes)
        more = (min(size, self._memory_bytes) if size > _FREE_BYTES else 0) - self.reserved
        if more > 0:
            if self._limits.bytes + more > self._limits.settings.all_bodies_bytes():
                raise OverloadedError("the bodies of other requests use all memory available for them", _RETRY_AFTER_S)
            self._limits.bytes += more
            self.reserved += more


class UnreadBodyMiddleware(HTTPMiddleware):
    """Makes sure that an unread body neither occupies its connection nor costs the client its answer.

    If an answer starts before the body of its request has been read, a small body that is already arriving is read,
    and the connection is kept. Otherwise the answer has ``Connection: close``, and for a moment the rest of the body
    is read and discarded: closing a connection on which the client still sends resets it, and may lose the answer.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        connection = _Connection(dict(scope["headers"]), receive, send)
        await self.app(scope, connection.receive, connection.send)


class _Connection:
    """One request and its answer."""

    def __init__(self, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        length = headers.get(b"content-length", b"0")
        chunked = b"transfer-encoding" in headers
        self._read = not chunked and not length.strip(b"0")
        # Neither a client that waits for 100 Continue, nor one that announces much, is waited for.
        self._expects = b"expect" in headers
        self._large = self._expects or len(length) > 9 or int(length) > _PENDING_BYTES
        # RFC 9112, 6.1: bytes after such a request may be a smuggled request.
        self._ambiguous = chunked and b"content-length" in headers
        self._linger = False

    async def receive(self) -> Message:
        """Return the next part of the body, or what follows it."""
        self._expects = False  # the server has now sent 100 Continue
        message = await self._receive()
        self._read = self._read or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            if not (self._read or self._large):
                await self._discard(_PENDING_S, _PENDING_BYTES)
            self._linger = not self._read and not self._expects
            if self._ambiguous or not self._read:
                headers = [item for item in message.get("headers", ()) if item[0].lower() != _CLOSE[0]]
                message = {**message, "headers": [*headers, _CLOSE]}
        elif self._linger and not message.get("more_body", False):
            self._linger = False
            await self._send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b"", "more_body": False}
            await self._discard(_LINGER_S)
        await self._send(message)

    async def _discard(self, seconds: float, max_bytes: float = float("inf")) -> None:
        """Read the rest of the body, within a time and a number of bytes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._read and max_bytes > 0:
                    max_bytes -= len((await self.receive()).get("body", b""))
