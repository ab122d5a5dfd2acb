"""What can go wrong between a client and its service, each with the status and the problem details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.models.errors import InputError, SecateurError


class ServiceError(SecateurError):
    """The service did not do what was asked. Subclasses say whose fault it was.

    Args:
        message: one line for people.
        status: HTTP status of the answer; None when there was none.
        details: the answer's problem details (RFC 9457), empty when it had none.

    Attributes:
        detail: the service's own words, if it said any.
        request_id: under which the service's log has the request.
    """

    def __init__(self, message: str, *, status: int | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self._set(status, details)

    def _set(self, status: int | None, details: Mapping[str, Any] | None) -> None:
        self.status = status
        self.details: Mapping[str, Any] = details or {}
        self.detail = _text(self.details.get("detail"))
        self.request_id = _text(self.details.get("request_id"))


class ServiceUnavailableError(ServiceError):
    """The service is down, too slow, too busy or failing; the same request may pass later, or elsewhere."""


class BadResponseError(ServiceError):
    """What came back is not an answer of the service: garbage, half a body, another program's page."""


class RequestRefusedError(ServiceError, InputError):
    """The service found a value that it cannot use; also an `InputError`, as the library would raise.

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
        Exception.__init__(self, f"{field}: {problem}; {hint}")
        self._set(status, details)
        self.field = field
        self.problem = problem
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _refused, (self.field, self.problem, self.hint, self.status, dict(self.details))


def _refused(
    field: str, problem: str, hint: str, status: int | None, details: Mapping[str, Any]
) -> RequestRefusedError:
    return RequestRefusedError(field, problem, hint, status=status, details=details)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
