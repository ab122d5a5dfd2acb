"""What the bodies of all APIs share: cleaning, messages about wrong fields, and how many of them are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


class _NotFiniteError(Exception):
    """A number is none of JSON's."""


def _clean(value: Any) -> tuple[Any, bool]:
    """Replace lone surrogates everywhere; return the value and whether anything changed.

    Raises:
        _NotFiniteError: there is NaN or Infinity, which could not be returned.
    """
    if isinstance(value, str):
        clean = replace_surrogates(value)
        return clean, clean != value
    if isinstance(value, float) and not math.isfinite(value):
        raise _NotFiniteError
    if isinstance(value, list):
        items = [_clean(item) for item in value]
        return [item for item, _ in items], any(changed for _, changed in items)
    if isinstance(value, dict):
        pairs = {replace_surrogates(key): _clean(item) for key, item in value.items()}
        changed = any(changed for _, changed in pairs.values()) or pairs.keys() != value.keys()
        return {key: item for key, (item, _) in pairs.items()}, changed
    return value, False


def _not_finite(value: Any) -> tuple[float, list[str]] | None:
    """Return the first number that is not finite, and the parts of its path, the last one first."""
    if isinstance(value, float) and not math.isfinite(value):
        return value, []
    if isinstance(value, list):
        parts = ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, dict):
        parts = ((f".{key}", item) for key, item in value.items())
    else:
        return None
    for part, item in parts:
        if (found := _not_finite(item)) is not None:
            found[1].append(part)
            return found
    return None


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
        try:
            clean, changed = _clean(data)
        except RecursionError:
            raise InputError("body", "is nested too deeply", "flatten the metadata") from None
        except _NotFiniteError:
            # The path is made only here: with each value, a long key would be copied as often as it has values.
            value, parts = _not_finite(data) or (math.nan, [])
            path = "".join(reversed(parts)).removeprefix(".")
            raise InputError(
                path or "body", f"{value!r} is not a JSON number", "give a finite number or leave it out"
            ) from None
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
