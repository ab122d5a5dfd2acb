"""Bodies: not too large, not compressed, not too slow, and all that are in memory together not too much."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secateur.service.problems import problem
from secateur.service.settings import Settings

BATCH_PATH = "/v1/prune/batch"

_BYTES_A_SECOND = 65_536  # the pace of the slowest body that is read
_FREE_BYTES = 65_536  # bodies up to this size do not count: they are few in memory beside their connections
_BATCH_BYTES = 1 << 20  # in memory, of the body of a batch; the rest is on disk
_RETRY_AFTER_S = 1


class Bodies:
    """ASGI middleware; see the module. Nothing is counted before the application reads.

    Args:
        app: that reads the bodies.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._allowance = _Allowance(settings.all_bodies_bytes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        batch = scope["path"] == BATCH_PATH
        max_bytes = self._settings.max_batch_bytes if batch else self._settings.max_body_bytes
        if (refused := _refused(Request(scope), headers, max_bytes)) is not None:
            await refused(scope, receive, send)
            return
        share = _Share(self._allowance, _BATCH_BYTES if batch else max_bytes)
        body = _Body(receive, _announced(headers), max_bytes, self._settings.receive_timeout_s, share)
        try:
            await self._app(scope, body.receive, send)
        finally:
            share.release()


def _announced(headers: dict[bytes, bytes]) -> int:
    return 0 if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))


def _refused(request: Request, headers: dict[bytes, bytes], max_bytes: int) -> Response | None:
    """Return the answer to a body that is not read at all."""
    length = headers.get(b"content-length", b"0")
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return problem(request, 400, "the request has Content-Length and Transfer-Encoding; send one of them")
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding != "identity":
        return problem(request, 415, f"content-encoding: {encoding!r} is not read; send the body as it is")
    if len(length) > 18 or int(length) > max_bytes:  # h11 has seen to it that it is a number
        return problem(request, 413, _too_large(max_bytes))
    return None


def _too_large(max_bytes: int) -> str:
    return f"body: it has more than {max_bytes} bytes; send fewer passages at once"


class _Allowance:
    """What all bodies in memory may take together.

    Args:
        max_bytes: of all shares.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.taken = 0


class _Share:
    """What one body takes of the allowance, until its request has been answered.

    Args:
        allowance: of all bodies.
        max_bytes: of this one that are in memory at once.
    """

    def __init__(self, allowance: _Allowance, max_bytes: int) -> None:
        self._allowance = allowance
        self._max_bytes = max_bytes
        self._bytes = 0

    def grow(self, size: int) -> bool:
        """Take what a body of so many bytes needs; False, and nothing is taken, where too little is left."""
        more = (min(size, self._max_bytes) if size > _FREE_BYTES else 0) - self._bytes
        if more > 0:
            if self._allowance.taken + more > self._allowance.max_bytes:
                return False
            self._allowance.taken += more
            self._bytes += more
        return True

    def release(self) -> None:
        """Give it back."""
        self._allowance.taken -= self._bytes
        self._bytes = 0


class _Body:
    """The body of one request, on its way in.

    Args:
        receive: of the server.
        announced: its length, where the head says one.
        max_bytes: that it may have.
        patience_s: that the client may pause.
        share: of the allowance.
    """

    def __init__(self, receive: Receive, announced: int, max_bytes: int, patience_s: float, share: _Share) -> None:
        self._receive = receive
        self._announced = announced
        self._max_bytes = max_bytes
        self._patience_s = patience_s
        self._share = share
        self._deadline = asyncio.get_running_loop().time() + patience_s
        self._bytes = 0
        self._ended = False

    async def receive(self) -> Message:
        """Return the next part, or what follows the body.

        Raises:
            HTTPException: it is too large, too slow, or there is no memory left for it. What reads bodies would take
                any other error for a wrong body.
        """
        if self._ended:
            return await self._receive()
        self._reserve()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time; send it faster") from None
        if message["type"] == "http.request":
            self._took(len(message.get("body", b"")))
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True
        return message

    def _took(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise HTTPException(413, _too_large(self._max_bytes))
        self._reserve()
        # Bytes buy time at the slowest pace; nobody can save up more than one pause.
        longest = asyncio.get_running_loop().time() + self._patience_s
        self._deadline = min(self._deadline + size / _BYTES_A_SECOND, longest)

    def _reserve(self) -> None:
        if not self._share.grow(max(self._announced, self._bytes)):
            detail = "the bodies of other requests take all memory that there is for them; try again later"
            raise HTTPException(429, detail, {"Retry-After": str(_RETRY_AFTER_S)})
