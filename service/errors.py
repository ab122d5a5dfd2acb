"""Errors of the service, each with the HTTP status of its response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from secateur.models.errors import InputError, SecateurError, shown


class UnreadableBodyError(InputError):
    """The body is not valid, unambiguous JSON."""

    status = 400


class BodyTypeError(InputError):
    """The content type or encoding of the body is not supported."""

    status = 415


class BodyTooLargeError(InputError):
    """The body is larger than ``max_bytes``."""

    status = 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__("body", f"is larger than {max_bytes} bytes", "send fewer passages per request")


class UnansweredError(SecateurError):
    """A request was not answered, although it may be valid."""

    status: ClassVar[int]  # of the response
    message: ClassVar[str] = ""  # of an error that is raised without one

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)


class UnknownModelError(UnansweredError):
    """The request names a ``model`` that is not among the ``served`` ones."""

    status = 404

    def __init__(self, model: str, served: Sequence[str]) -> None:
        super().__init__(f"model: {shown(model)} is not served; use one of {', '.join(served)}")


class SlowBodyError(UnansweredError):
    """The body did not arrive in time."""

    status = 408
    message = "body: did not arrive in time; send it faster"


class OverloadedError(UnansweredError):
    """The server has no capacity for the request now. A new attempt should succeed after ``retry_after_s``."""

    status = 429

    def __init__(self, problem: str, retry_after_s: int) -> None:
        super().__init__(f"{problem}; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class ClientGoneError(UnansweredError):
    """The client closed the connection before it received the answer."""

    status = 499


class BackendError(UnansweredError):
    """The backend failed on this request. Other requests are not affected."""

    status = 500
    message = "the model failed on this request; see the server log for details"


class EngineDeadError(UnansweredError):
    """The engine has stopped, and answers no requests."""

    status = 503
    message = "the engine has stopped; send the request to another replica"


class DeadlineError(UnansweredError):
    """The request was not answered within its time limit of ``timeout_s``."""

    status = 504

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"not answered within {timeout_s * 1e3:.0f} ms; send fewer passages or allow more time")


class DiskFullError(UnansweredError):
    """The body of a batch could not be stored in a temporary file."""

    status = 507
    message = "body: no disk space on the server for a batch of this size; send smaller batches"


class AbandonedError(SecateurError):
    """The work was stopped because nobody waits for its result."""
