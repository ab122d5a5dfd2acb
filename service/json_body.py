"""JSON request bodies: strict reading and validation, off the event loop if a body is large."""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

import anyio.to_thread
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Discriminator, PrivateAttr, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from secateur.models.errors import InputError, shown
from secateur.models.requests import replace_surrogates
from secateur.service.errors import BodyTooLargeError, UnreadableBodyError
from secateur.service.settings import Settings

T = TypeVar("T")

LARGE = 32_768  # bytes; larger bodies are processed in a thread
MAX_ERRORS = 20  # reported errors of a body
_MAX_VALUES = 250_000  # in a body: 10,000 passages with twenty-five fields; a million would take seconds
_MAX_DEPTH = 400  # of nesting; Python's own decoder and encoder fail at about 1000

# Names that other services, and people, use for a required field.
_TEXTS = {"texts", "text", "passages", "passage", "documents", "document", "docs", "contexts", "context", "chunks"}
_TEXTS |= {"inputs", "input", "candidates", "sentences", "nodes", "items"}
_QUERIES = {"queries", "question", "q", "search_query", "search", "prompt", "inputs", "input", "text", "text_1"}
_OTHER_NAMES = {"query": _QUERIES, "passages": _TEXTS, "documents": _TEXTS, "texts": _TEXTS}


class InvalidBodyError(InputError):
    """Some fields of a body are invalid: the first `MAX_ERRORS` errors as pydantic reports them, and their number."""

    def __init__(self, errors: Sequence[Mapping[str, Any]], count: int) -> None:
        super().__init__("body", f"has {count} errors", "see `errors`")
        self.errors = errors[:MAX_ERRORS]
        self.others = count - len(self.errors)


async def off_loop(request: Request, function: Callable[[], T]) -> T:
    """Call a function in one of the app's few threads, and wait for it."""
    return await anyio.to_thread.run_sync(function, limiter=request.app.state.threads)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, whose keys must be unique: nobody can tell which of two values is meant."""
    made = dict(pairs)
    if len(made) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise UnreadableBodyError(key, f"duplicate key {shown(key)}", "give each key once")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def parse_json(data: bytes) -> Any:
    """Return the value of a valid JSON text in UTF-8. NaN and Infinity are accepted; `StrictBody` refuses them."""
    try:
        return _DECODER.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UnreadableBodyError("body", f"is not UTF-8 at byte {error.start}", "encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UnreadableBodyError("body", f"is not JSON at {place}: {error.msg}", "send a JSON object") from None
    except RecursionError:
        raise UnreadableBodyError("body", "is nested too deeply", "reduce the nesting") from None
    except ValueError:  # the only other cause: Python reads no integer of more than 4300 digits
        raise UnreadableBodyError("body", "has a number of more than 4300 digits", "shorten the number") from None


async def read_body(request: Request, data: bytes, validate: Callable[[Any], T]) -> T:
    """Return the validated body of a request, or of a line of a batch. A large one is processed in a thread.

    Raises:
        InputError: The body is too large, or not valid JSON.
    """
    settings: Settings = request.app.state.settings
    if len(data) > settings.max_body_bytes:
        raise BodyTooLargeError(settings.max_body_bytes)

    def read() -> T:
        # Even if all characters of the passages were commas, the rest separates too many values.
        if data.count(b",") > _MAX_VALUES + settings.max_characters:
            raise _too_many_values()
        value = parse_json(data)
        for name in ("passages", "documents", "texts"):  # before each is validated
            items = value.get(name) if isinstance(value, dict) else None
            if isinstance(items, list):
                check_limit(name, len(items), "items", settings.max_passages)
        return validate(value)

    return read() if len(data) < LARGE else await off_loop(request, read)


def check_limit(field: str, number: int, what: str, limit: int, hint: str = "split the request") -> None:
    """Refuse a field with more items or characters than a limit."""
    if number > limit:
        raise InputError(field, f"{number} {what} exceed the limit of {limit}", hint)


class _StrictRequest(Request):
    """A request whose body is read and validated by `read_body`."""

    def __init__(self, request: Request, validate: Callable[[Any], Any]) -> None:
        super().__init__(request.scope, request.receive, request._send)
        self._validate = validate

    async def json(self) -> Any:
        data = await self.body()
        self.state.large = len(data) >= LARGE
        return await read_body(self, data, self._validate)


class StrictRoute(APIRoute):
    """A route that reads its JSON body with `read_body`: ``APIRouter(route_class=StrictRoute)``.

    FastAPI would validate on the event loop. It gets the validated model instead, and leaves it unchanged.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        handler = super().get_route_handler()

        def validate(value: Any) -> Any:
            assert self.body_field is not None  # FastAPI reads no body of other routes
            body, errors = self.body_field.validate(value, loc=("body",))
            if errors:
                raise RequestValidationError(errors)
            return body

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request, validate))

        return handle


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict | BaseModel) else None


STRING_OR_OBJECT = Discriminator(
    _tag,
    custom_error_type="string_or_object",
    custom_error_message="Input should be a string or an object with `text`",
)


def _too_many_values() -> InputError:
    return InputError("body", f"has more than {_MAX_VALUES} values", "send less metadata")


def _check_values(value: Any) -> bool:
    """Refuse NaN, Infinity, and too many values or levels; return whether a string or key has a lone surrogate."""
    surrogates = False
    count = 0
    level = [value]
    for _ in range(_MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str):
                surrogates = surrogates or replace_surrogates(item) is not item
            elif isinstance(item, float):
                if not math.isfinite(item):
                    problem = f"{item!r} is not a JSON number"
                    raise InputError(_path_of_non_finite(value), problem, "give a finite number or leave it out")
            elif isinstance(item, list | dict):
                count += len(item)
                if count > _MAX_VALUES:
                    raise _too_many_values()
                deeper += item  # of an object, its keys
                if isinstance(item, dict):
                    deeper += item.values()
        if not deeper:
            return surrogates
        level = deeper
    raise InputError("body", f"is nested more than {_MAX_DEPTH} levels deep", "reduce the nesting")


def _path_of_non_finite(value: Any) -> str:
    """Return the path, at most 200 characters, of the first number that is not finite."""
    queue: deque[tuple[Any, str]] = deque([(value, "")])
    while queue:
        item, path = queue.popleft()
        if isinstance(item, float) and not math.isfinite(item):
            return path.removeprefix(".") or "body"
        if isinstance(item, dict):
            queue.extend((part, f"{path}.{key[:200]}"[:200]) for key, part in item.items())
        elif isinstance(item, list):
            queue.extend((part, f"{path}[{index}]"[:200]) for index, part in enumerate(item))
    return "body"


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates everywhere in a value, unless that makes two keys of an object equal."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        clean = {replace_surrogates(key): _without_surrogates(item) for key, item in value.items()}
        if len(clean) < len(value):
            raise InputError("body", "has two keys that differ only in a lone surrogate", "rename one of them")
        return clean
    return value


def _check_names(fields: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse a body with a required field under another name."""
    for name, others in _OTHER_NAMES.items():
        if name in fields and data.get(name) is None:
            sent = next((key for key in data if key not in fields and key.lower() in others), None)
            if sent is not None:
                raise InputError(name, f"is missing, and {sent} was sent", f"rename {sent} to {name}")


class StrictBody(BaseModel):
    """Base of request bodies: lone surrogates are replaced, and values and nesting are limited."""

    _had_surrogates: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, StrictBody | bytes):  # already validated, or of another content type
            return handler(data)
        had_surrogates = _check_values(data)
        clean = _without_surrogates(data) if had_surrogates else data
        if isinstance(clean, dict):
            _check_names(cls.model_fields, clean)
        try:
            body = handler(clean)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            raise InvalidBodyError(found, error.error_count()) from None
        body._had_surrogates = had_surrogates
        return body

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about changes to the body."""
        return ("body: lone surrogates were replaced by U+FFFD",) if self._had_surrogates else ()
