"""Errors between a client and its service, and how they quote what it said: short, on one line, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from secateur.models.errors import InputError, SecateurError
from secateur.models.requests import replace_surrogates

Hide = Callable[[str], str]
"""Removes the secrets from a text."""

_SHOWN = 80  # characters of an answer that a message quotes
_LINE = 500  # characters of the service's own description of a problem
_SEARCHED = 1 << 16  # bytes that are searched for secrets before a quotation is cut


class ServiceError(SecateurError):
    """The service did not fulfil a request. Subclasses say why.

    Args:
        message: Description on one line.
        status: HTTP status of the answer; None without an answer.
        details: Problem details of the answer (RFC 9457); empty if it has none.

    Attributes:
        detail: The service's own description of the problem, if any.
        request_id: The request's id in the service's log, if any.
    """

    def __init__(self, message: str, *, status: int | None = None, details: Mapping[str, Any] | None = None) -> None:
        SecateurError.__init__(self, message)
        self.status = status
        self.details: Mapping[str, Any] = details or {}
        detail, request_id = self.details.get("detail"), self.details.get("request_id")
        self.detail: str | None = detail if isinstance(detail, str) else None
        self.request_id: str | None = request_id if isinstance(request_id, str) else None


class ServiceUnavailableError(ServiceError):
    """The service is down, too slow, overloaded or failing. The same request may succeed later, or elsewhere."""


class BadResponseError(ServiceError):
    """The answer is not a valid answer of the service: malformed, incomplete, or from another program."""


class RequestRefusedError(ServiceError, InputError):
    """The service refused a value. Also an `InputError`, as the library would raise.

    Args:
        field: The argument, e.g. ``passages[3].text``.
        problem: What is wrong with it.
        hint: What to give instead.
        status: HTTP status of the answer.
        details: Its problem details.
    """

    def __init__(
        self, field: str, problem: str, hint: str, *, status: int | None, details: Mapping[str, Any] | None = None
    ) -> None:
        ServiceError.__init__(self, f"{field}: {problem}; {hint}", status=status, details=details)
        self.field = field
        self.problem = problem
        self.hint = hint


def one_line(text: str, hide: Hide) -> str:
    """Return a text of the service as one line for a log: shortened, without secrets and control characters."""
    line = " ".join(hide(replace_surrogates(text)).split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line[:_LINE])
    return line if len(line) < _LINE else f"{line[: _LINE - 3]}..."


def shown_value(value: object, hide: Hide) -> str:
    """Return the beginning of a value of an answer."""
    text = hide(repr(value)[:_SEARCHED])
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def quoted(content: bytes, hide: Hide) -> str:
    """Return the beginning of a body."""
    return shown_value(content[:_SEARCHED].decode("utf-8", "replace"), hide) if content.strip() else "it is empty"


def without_secrets(value: Any, hide: Hide) -> Any:
    """Return a JSON value with every string in it searched for secrets."""
    match value:
        case str():
            return hide(replace_surrogates(value))
        case list():
            return [without_secrets(item, hide) for item in value]
        case dict():
            return {without_secrets(key, hide): without_secrets(item, hide) for key, item in value.items()}
    return value
