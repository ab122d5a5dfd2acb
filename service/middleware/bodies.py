"""Bodies: not too large, not compressed, not too slow; and one that is refused is still taken off the wire."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.service.problems import problem
from secateur.service.settings import Settings

BATCH_PATH = "/v1/prune/batch"

_BYTES_A_SECOND = 65_536  # a body may take a second longer for each of these
_LINGER_S = 2.0


class Bodies:
    """ASGI middleware; see the module.

    Args:
        app: that reads the bodies.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, refuse or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        max_bytes = self._settings.max_batch_bytes if scope["path"] == BATCH_PATH else self._settings.max_body_bytes
        body = _Body(receive, send, max_bytes, self._settings.receive_timeout_s)
        # Nothing is lost to a client that waits for leave to send its body.
        body.all_read = b"expect" in headers or not (length.strip(b"0") or b"transfer-encoding" in headers)
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding != "identity":
            refused = problem(
                Request(scope), 415, f"content-encoding: {encoding!r} is not read; send the body as it is"
            )
            await refused(scope, receive, body.send)
        elif length.isdigit() and (len(length) > 18 or int(length) > max_bytes):
            await problem(Request(scope), 413, _too_large(max_bytes))(scope, receive, body.send)
        else:
            await self._app(scope, body.receive, body.send)


def _too_large(max_bytes: int) -> str:
    return f"body: it has more than {max_bytes} bytes; send fewer passages at once"


class _Body:
    """The body of one request, on its way in.

    Attributes:
        all_read: nothing of it is left to read.
    """

    def __init__(self, receive: Receive, send: Send, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._bytes = 0
        self._ended = False
        self.all_read = False

    async def receive(self) -> Message:
        """Return the next part, or what follows the body."""
        if self._ended:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline + self._bytes / _BYTES_A_SECOND):
                message = await self._receive()
        except TimeoutError:
            # HTTPException, since what reads bodies would take any other error for a wrong body.
            raise HTTPException(408, "the body did not arrive in time; send it faster") from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._max_bytes:
                raise HTTPException(413, _too_large(self._max_bytes))
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True
        self.all_read = self.all_read or self._ended
        return message

    async def send(self, message: Message) -> None:
        """Pass the response on; before its end, take in the rest of a body that nobody has read.

        A connection that is closed on a client that still sends is reset, and the response may be lost.
        """
        if message["type"] == "http.response.body" and not message.get("more_body", False) and not self.all_read:
            self.all_read = True
            await self._send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b"", "more_body": False}
            try:
                async with asyncio.timeout(_LINGER_S):
                    while (await self._receive()).get("more_body", False):
                        pass
            except TimeoutError:
                pass
        await self._send(message)
