"""Errors of the service. `secateur.service.problems.STATUS` maps them to HTTP statuses."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.models.errors import InputError, SecateurError, shown


class UnknownModelError(SecateurError):
    """The request names a model that is not served.

    Args:
        model: Requested name.
        served: Names of the served models.
    """

    def __init__(self, model: str, served: Sequence[str]) -> None:
        super().__init__(f"model: {shown(model)} is not served; use one of {', '.join(served)}")


class UnreadableBodyError(InputError):
    """The body is not valid, unambiguous JSON."""


class BodyTypeError(InputError):
    """The content type or encoding of the body is not supported."""


class BodyTooLargeError(InputError):
    """The body exceeds the size limit.

    Args:
        max_bytes: The limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__("body", f"is larger than {max_bytes} bytes", "send fewer passages per request")


class SlowBodyError(SecateurError):
    """The body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__("body: did not arrive in time; send it faster")


class DiskFullError(SecateurError):
    """The body of a batch could not be stored in a temporary file."""

    def __init__(self) -> None:
        super().__init__("body: no disk space on the server for a batch of this size; send smaller batches")


class ClientGoneError(SecateurError):
    """The client closed the connection before it received the answer."""


class AbandonedError(SecateurError):
    """The work was stopped because nobody waits for its result."""


class EngineError(SecateurError):
    """The request was not answered, although it may be valid."""


class OverloadedError(EngineError):
    """The server has no capacity for the request now.

    Args:
        problem: The exhausted limit.
        retry_after_s: Time after which a new attempt should succeed, in whole seconds.
    """

    def __init__(self, problem: str, retry_after_s: int) -> None:
        super().__init__(f"{problem}; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class DeadlineError(EngineError):
    """The request was not answered before its deadline.

    Args:
        timeout_s: Time limit of the request.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"not answered within {timeout_s * 1e3:.0f} ms; send fewer passages or allow more time")


class BackendError(EngineError):
    """The backend failed on this request. Other requests are not affected."""

    def __init__(self) -> None:
        super().__init__("the model failed on this request; see the server log for details")


class EngineDeadError(EngineError):
    """The engine has stopped, and answers no requests."""

    def __init__(self) -> None:
        super().__init__("the engine has stopped; send the request to another replica")
