"""Why the engine did not answer."""

from __future__ import annotations


class EngineError(Exception):
    """A request was not answered, through no fault of its own."""


class OverloadedError(EngineError):
    """The queue is full.

    Args:
        waiting: tokens in the queue.
        retry_after_s: seconds, whole, after which there should be room.
    """

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} tokens are waiting already; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class DeadlineError(EngineError):
    """The request was not answered in time.

    Args:
        timeout_s: the time that it had.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"not answered within {timeout_s * 1e3:.0f} ms; send fewer passages, or allow more time")


class BackendError(EngineError):
    """The runtime failed on this request; others go on."""

    def __init__(self) -> None:
        super().__init__("the model failed on this request; the server's log has the details")


class EngineDeadError(EngineError):
    """The engine has ended, on purpose or not; nothing is answered any more."""

    def __init__(self) -> None:
        super().__init__("the engine has stopped; ask another replica")
