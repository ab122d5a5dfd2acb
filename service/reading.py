"""JSON bodies, read strictly: what cannot be read, or could be read in two ways, is refused with the place."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from secateur.models.errors import InputError, shown
from secateur.service.settings import Settings
from secateur.service.threads import LARGE, off_loop

T = TypeVar("T")

_LISTS = ("passages", "documents", "texts")
_MAX_VALUES = 250_000  # in a body: 10,000 passages with twenty fields and more, while a million would take seconds


class UnreadableError(HTTPException):
    """A body is not read. An HTTPException, which FastAPI passes on while it reads a body; any other is replaced.

    Args:
        problem: what is wrong with it, and where.
        hint: what to send instead.
        field: it is about.
        status: of the response.
    """

    def __init__(self, problem: str, hint: str, field: str = "body", status: int = 400) -> None:
        self.error = InputError(field, problem, hint)
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


async def read_body(request: Request, data: bytes, validate: Callable[[Any], T]) -> T:
    """Return the body of a request, or a line of a batch; of a large one all work is done in a thread.

    Args:
        request: that the data came with.
        data: JSON.
        validate: makes the result of the value.

    Raises:
        UnreadableError: it is too large, or no JSON.
    """
    settings: Settings = request.app.state.settings
    if len(data) > settings.max_body_bytes:
        raise UnreadableError(f"has more than {settings.max_body_bytes} bytes", "send fewer passages", status=413)

    def read() -> T:
        return validate(_checked(data, settings))

    if len(data) < LARGE:
        return read()
    return await off_loop(request, read)


class _Refused(HTTPException):
    """Carries an error through FastAPI, which passes on no other exception while it reads a body.

    Args:
        error: to be raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(422)
        self.error = error


class _StrictRequest(Request):
    """A request whose body is read strictly, and validated, once.

    Args:
        request: of whose connection it is.
        validate: makes the body's model of a value.
    """

    def __init__(self, request: Request, validate: Callable[[Any], Any]) -> None:
        super().__init__(request.scope, request.receive, request._send)
        self._validate = validate

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            data = await self.body()
            self.state.large = len(data) >= LARGE
            try:
                self._json = await read_body(self, data, self._validate)
            except HTTPException:
                raise
            except Exception as error:
                raise _Refused(error) from None
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its JSON body by `read_body`: ``APIRouter(route_class=StrictRoute)``.

    FastAPI would validate on the event loop; it is given the body's model, which it takes as it is.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()
        field = self.body_field

        def validate(value: Any) -> Any:
            if field is None:
                return value
            body, errors = field.validate(value, loc=("body",))
            if errors:
                raise RequestValidationError(errors)
            return body

        async def handle(request: Request) -> Response:
            try:
                return await handler(_StrictRequest(request, validate))
            except _Refused as refused:
                raise refused.error from None
            except HTTPException as error:
                if isinstance(error.__cause__, ClientDisconnect):  # FastAPI takes it for a body that cannot be read
                    raise error.__cause__ from None
                raise

        return handle
