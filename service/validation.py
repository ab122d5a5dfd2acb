"""What the bodies of all APIs share: cleaning, messages about wrong fields, and how many of them are told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, Discriminator, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from secateur.models.errors import InputError
from secateur.models.requests import replace_surrogates

MAX_ERRORS = 20  # of a body that are told; a client that has a thousand of them has one mistake

# What other services, and people, call a required field.
_TEXTS = {"texts", "text", "passages", "passage", "documents", "document", "docs", "contexts", "context", "chunks"}
_TEXTS |= {"inputs", "input", "candidates", "sentences", "nodes", "items"}
_QUERIES = {"queries", "question", "q", "search_query", "search", "prompt", "inputs", "input", "text", "text_1"}
_OTHER_NAMES = {"query": _QUERIES, "passages": _TEXTS, "documents": _TEXTS, "texts": _TEXTS}


class BodyError(InputError):
    """Some fields of a body are wrong.

    Args:
        error: of pydantic.

    Attributes:
        errors: the first `MAX_ERRORS` of them, as pydantic has them.
        others: number of those beyond.
    """

    def __init__(self, error: ValidationError) -> None:
        super().__init__("body", f"has {error.error_count()} errors", "see errors")
        self.errors: list[ErrorDetails] = error.errors(include_url=False, include_context=False)[:MAX_ERRORS]
        self.others = error.error_count() - len(self.errors)


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict | BaseModel) else None


STRING_OR_OBJECT = Discriminator(
    _tag,
    custom_error_type="string_or_object",
    custom_error_message="Input should be a string or an object with `text`",
)


_MAX_DEPTH = 400  # of nesting: Python's own decoder and encoder fail at about 1000


def _has_surrogates(text: str) -> bool:
    if text.isascii():  # which a string knows of itself
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _check_values(value: Any) -> bool:
    """Look at every value of a body; return whether any string, or key, has a lone surrogate.

    Raises:
        InputError: a number is not one of JSON (NaN, Infinity), or the nesting is too deep; neither could be returned.
    """
    found = False
    level = [value]
    for _ in range(_MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str):
                found = found or _has_surrogates(item)
            elif isinstance(item, float):
                if not math.isfinite(item):
                    raise InputError(
                        _place_of_no_number(value),
                        f"{item!r} is not a JSON number",
                        "give a finite number or leave it out",
                    )
            elif isinstance(item, list):
                deeper += item
            elif isinstance(item, dict):
                deeper += item  # its keys
                deeper += item.values()
        if not deeper:
            return found
        level = deeper
    raise InputError("body", f"is nested more than {_MAX_DEPTH} deep", "flatten the metadata")


def _place_of_no_number(value: Any) -> str:
    """Return the path, cut to 200 characters, of a number that is not finite. There must be one."""
    steps: list[str] = []
    level: list[tuple[Any, int]] = [(value, -1)]  # with the number of the step to it
    before: list[int] = []  # for each step, the number of the one before it
    while level:
        deeper: list[tuple[Any, int]] = []
        for item, number in level:
            if isinstance(item, float) and not math.isfinite(item):
                path: list[str] = []
                while number >= 0:
                    path.append(steps[number])
                    number = before[number]
                return "".join(reversed(path))[:200].removeprefix(".") or "body"
            pairs: Iterable[tuple[str, Any]] = ()
            if isinstance(item, dict):
                pairs = ((f".{key[:200]}", its) for key, its in item.items())
            elif isinstance(item, list):
                pairs = ((f"[{index}]", its) for index, its in enumerate(item))
            for step, its in pairs:
                if isinstance(its, dict | list | float):
                    deeper.append((its, len(steps)))
                    steps.append(step)
                    before.append(number)
        level = deeper
    raise AssertionError


def _replaced(value: Any) -> Any:
    """Replace lone surrogates everywhere in a value that is not nested too deeply.

    Raises:
        InputError: two keys of an object become the same.
    """
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    if isinstance(value, dict):
        clean = {replace_surrogates(key): _replaced(item) for key, item in value.items()}
        if len(clean) < len(value):
            raise InputError("body", "has two keys that differ by a lone surrogate alone", "rename one of them")
        return clean
    return value


def _check_names(fields: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Say it if a required field is missing and was given under another name.

    Raises:
        InputError: it was.
    """
    for name, others in _OTHER_NAMES.items():
        if name in fields and data.get(name) is None:
            sent = next((key for key in data if key not in fields and key.lower() in others), None)
            if sent is not None:
                raise InputError(name, f"is missing, and {sent} was sent", f"rename {sent} to {name}")


class CleanBody(BaseModel):
    """A body whose lone surrogates are replaced, and which may be nested and numbered only as JSON can be answered."""

    _had_surrogates: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, CleanBody | bytes):  # read before, or of another content type, which FastAPI reports
            return handler(data)
        changed = _check_values(data)
        clean = _replaced(data) if changed else data
        if isinstance(clean, dict):
            _check_names(cls.model_fields, clean)
        try:
            body = handler(clean)
        except ValidationError as error:
            raise BodyError(error) from None
        body._had_surrogates = changed
        return body

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be changed to read the body."""
        return ("body: lone surrogates were replaced by U+FFFD",) if self._had_surrogates else ()
