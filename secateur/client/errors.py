"""Errors between a client and its service, each with the HTTP status and the problem details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.models.errors import InputError, SecateurError


class ServiceError(SecateurError):
    """The service did not do what it was asked. Subclasses say why.

    Args:
        message: one line for people.
        status: HTTP status of the answer; None without an answer.
        details: problem details of the answer (RFC 9457); empty if it has none.

    Attributes:
        detail: the service's own description of the problem, if any.
        request_id: the request's id in the service's log, if any.
    """

    def __init__(self, message: str, *, status: int | None = None, details: Mapping[str, Any] | None = None) -> None:
        SecateurError.__init__(self, message)
        self.status = status
        self.details: Mapping[str, Any] = details or {}
        detail, request_id = self.details.get("detail"), self.details.get("request_id")
        self.detail: str | None = detail if isinstance(detail, str) else None
        self.request_id: str | None = request_id if isinstance(request_id, str) else None


class ServiceUnavailableError(ServiceError):
    """The service is down, too slow, too busy or failing. The same request may succeed later, or elsewhere."""


class BadResponseError(ServiceError):
    """The answer is not a valid answer of the service: malformed, incomplete, or from another program."""


class RequestRefusedError(ServiceError, InputError):
    """The service refused a value. Also an `InputError`, as the library would raise.

    Args:
        field: the argument, e.g. ``passages[3].text``.
        problem: what is wrong with it.
        hint: what to give instead.
        status: HTTP status of the answer.
        details: its problem details.
    """

    def __init__(
        self, field: str, problem: str, hint: str, *, status: int | None, details: Mapping[str, Any] | None = None
    ) -> None:
        ServiceError.__init__(self, f"{field}: {problem}; {hint}", status=status, details=details)
        self.field = field
        self.problem = problem
        self.hint = hint
