"""JSON bodies, read strictly: what cannot be read, or could be read in two ways, is refused with the place."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from secateur.models.errors import InputError, shown
from secateur.service.settings import Settings

_LISTS = ("passages", "documents", "texts")
_LARGE = 32_768  # bytes, from which a body is read in a thread: others are answered meanwhile
_MAX_VALUES = 250_000  # in a body: 10,000 passages with twenty fields and more, while a million would take seconds


class UnreadableError(HTTPException):
    """A body is not read. An HTTPException, which FastAPI passes on while it reads a body; any other is replaced.

    Args:
        problem: what is wrong with it, and where.
        mend: what to send instead.
        field: it is about.
        status: of the response.
    """

    def __init__(self, problem: str, mend: str, field: str = "body", status: int = 400) -> None:
        self.error = InputError(field, problem, mend)
        super().__init__(status, str(self.error))


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


def _too_many() -> UnreadableError:
    return UnreadableError(f"holds more than {_MAX_VALUES} values", "send less metadata", status=422)


def _checked(data: bytes, settings: Settings) -> Any:
    """Read JSON; refuse at once what would take long to look at, and be refused in the end."""
    # Even if all characters of the passages were commas, there are too many left that stand between values.
    if data.count(b",") > _MAX_VALUES + settings.max_characters:
        raise _too_many()
    value = read_json(data)
    if isinstance(value, dict):
        for name in _LISTS:
            if isinstance(items := value.get(name), list) and len(items) > settings.max_passages:
                problem = f"are {len(items)}, and {settings.max_passages} are allowed"
                raise UnreadableError(problem, "send fewer, or several requests", name, status=422)
    if len(data) > 2 * _MAX_VALUES and isinstance(
        value, dict | list
    ):  # since no value is shorter than a byte and its comma
        _check_values(value)
    return value


def _check_values(value: Any) -> None:
    found = 0
    containers = [value]
    while containers:
        container = containers.pop()
        values = container.values() if isinstance(container, dict) else container
        found += len(values)
        if found > _MAX_VALUES:
            raise _too_many()
        containers += [item for item in values if isinstance(item, dict | list)]


async def read_body(data: bytes, settings: Settings, then: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return the value of a body, or of a line of a batch.

    Args:
        data: the body.
        settings: with its limits.
        then: applied to the value; in a thread too if the body is large.

    Raises:
        UnreadableError: it is too large, or no JSON.
    """
    if len(data) > settings.max_body_bytes:
        raise UnreadableError(f"has more than {settings.max_body_bytes} bytes", "send fewer passages", status=413)
    if len(data) < _LARGE:
        return then(_checked(data, settings))
    return await run_in_threadpool(lambda: then(_checked(data, settings)))


class _StrictRequest(Request):
    """A request whose JSON is read and validated at once.

    Args:
        request: as FastAPI has it.
        field: what its body is to be.
    """

    def __init__(self, request: Request, field: Any) -> None:
        super().__init__(request.scope, request.receive, request._send)
        self._field = field

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await read_body(await self.body(), self.app.state.settings, self._valid)
        return self._json

    def _valid(self, value: Any) -> Any:
        """Return the body's model, which FastAPI takes as it is; what is not even an object it reports itself."""
        body, errors = self._field.validate(value, {}, loc=())
        return value if errors else body


class StrictRoute(APIRoute):
    """A route that reads its JSON body by `read_json`: ``APIRouter(route_class=StrictRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(_StrictRequest(request, self.body_field))
            except HTTPException as error:
                # FastAPI takes both for a body that cannot be read.
                if isinstance(error.__cause__, ClientDisconnect | InputError):
                    raise error.__cause__ from None
                raise

        return handle
