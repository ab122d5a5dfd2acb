"""JSON bodies, read strictly: what cannot be read, or could be read in two ways, is refused with the place."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from secateur.models.errors import InputError, shown


class UnreadableError(HTTPException):
    """A body is not JSON. An HTTPException, which FastAPI passes on while it reads a body; any other is replaced.

    Args:
        problem: what is wrong with it, and where.
        mend: what to send instead.
        field: it is about.
    """

    def __init__(self, problem: str, mend: str, field: str = "body") -> None:
        self.error = InputError(field, problem, mend)
        super().__init__(400, str(self.error))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, whose keys must differ: of two values nobody can tell which is meant."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise UnreadableError(f"the key {shown(key)} stands twice in one object", "give each key once", key)
            seen.add(key)
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8. NaN and Infinity are left to who knows their fields.

    Raises:
        UnreadableError: it is none.
    """
    try:
        return _DECODER.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8 at byte {error.start}", "encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UnreadableError(f"is not JSON at {place}: {error.msg}", "send a JSON object") from None
    except RecursionError:
        raise UnreadableError("is nested too deeply", "flatten it") from None
    except ValueError:  # of all others only this one is left: Python reads no integer of more than 4300 digits
        raise UnreadableError("has a number of more than 4300 digits", "give a number that is one") from None


class _StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its JSON body by `read_json`: ``APIRouter(route_class=StrictRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(_StrictRequest(request.scope, request.receive, request._send))
            except HTTPException as error:
                if isinstance(error.__cause__, ClientDisconnect):  # FastAPI takes it for a body that cannot be read
                    raise error.__cause__ from None
                raise

        return handle
