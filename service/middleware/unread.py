"""The outermost layer: a body that nobody has read neither keeps its connection nor loses the client its answer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ON_ITS_WAY_BYTES = 65_536
_ON_ITS_WAY_S = 0.2
_LINGER_S = 2.0
_CLOSE = (b"connection", b"close")


class Unread:
    """ASGI middleware; see the module.

    When an answer begins before its request's body has been read, a small body that is on its way is taken off the
    wire, and the connection is kept. Otherwise the answer says ``Connection: close``, and for a moment the rest of the
    body is read and discarded: a connection that is closed on a client that still sends is reset, and the answer may
    be lost with it.

    Args:
        app: that answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = _Connection(dict(scope["headers"]), receive, send)
        await self._app(scope, connection.receive, connection.send)


class _Connection:
    """One request and its answer.

    Args:
        headers: of the request.
        receive: of the server.
        send: of the server.
    """

    def __init__(self, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        length = headers.get(b"content-length", b"0")
        chunked = b"transfer-encoding" in headers
        self._read = not chunked and not length.strip(b"0")
        # Neither a client that waits for leave to send its body, nor one that announces much, is waited for.
        self._expects = b"expect" in headers
        self._large = self._expects or (length.isdigit() and len(length) > 9) or int(length) > _ON_ITS_WAY_BYTES
        # RFC 9112, 6.1: what stands behind such a request may have been smuggled in.
        self._ambiguous = chunked and b"content-length" in headers
        self._linger = False

    async def receive(self) -> Message:
        """Return the next part of the body, or what follows it."""
        self._expects = False  # the server has now told the client to send
        message = await self._receive()
        if not message.get("more_body", False):
            self._read = True
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on; see the class above."""
        if message["type"] == "http.response.start":
            if not (self._read or self._large):
                await self._discard(_ON_ITS_WAY_S, _ON_ITS_WAY_BYTES)
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

    async def _discard(self, seconds: float, max_bytes: int | None = None) -> None:
        """Read what is left of the body, for so long and at most so much."""
        left = max_bytes
        try:
            async with asyncio.timeout(seconds):
                while not self._read and (left is None or left > 0):
                    message = await self.receive()
                    left = None if left is None else left - len(message.get("body", b""))
        except TimeoutError:
            pass
