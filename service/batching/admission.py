"""Admission: how much work may wait, told in tokens, and how long it will take at the rate that was measured."""

from __future__ import annotations

import math
import threading

from secateur.models.requests import CheckedRequest
from secateur.service.batching.errors import OverloadedError

_CHARACTERS_A_TOKEN = 4
_SMOOTHING = 0.2  # weight of the newest step in the rate
_SHARE_OF_DEADLINE = 0.8  # a request that would wait longer than this is refused at once, rather than answered late


def estimated_tokens(request: CheckedRequest) -> int:
    """Return about how many tokens a request will cost: the query beside each passage."""
    query, passages = request.request.query, request.request.passages
    text = sum(len(passage.text) + len(passage.title or "") for passage in passages)
    return (text + len(query) * len(passages)) // _CHARACTERS_A_TOKEN + 3 * len(passages) + 1


class Reservation:
    """Tokens that an admitted request holds until it is answered; a context manager.

    Args:
        admission: that admitted.
        tokens: held.
    """

    def __init__(self, admission: Admission, tokens: int) -> None:
        self._admission = admission
        self._tokens = tokens

    def resize(self, tokens: int) -> None:
        """Hold what the request really costs, once that is known."""
        self._admission.change(tokens - self._tokens)
        self._tokens = tokens

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.resize(0)


class Admission:
    """Counts the tokens that were admitted and not yet answered. Thread-safe.

    Args:
        max_tokens: that may wait. A larger request is admitted when nothing else waits.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._lock = threading.Lock()
        self._waiting = 0
        self._rate = 0.0

    @property
    def waiting(self) -> int:
        """Tokens of admitted requests that are not answered yet."""
        return self._waiting

    @property
    def rate(self) -> float:
        """Tokens a second that the network has lately done; 0 before it has run."""
        return self._rate

    def ran(self, tokens: int, seconds: float) -> None:
        """Take note of a step of the network."""
        with self._lock:
            now = tokens / max(seconds, 1e-6)
            self._rate = now if self._rate == 0 else (1 - _SMOOTHING) * self._rate + _SMOOTHING * now

    def reserve(self, tokens: int, timeout_s: float) -> Reservation:
        """Admit a request that must be answered in time.

        Raises:
            OverloadedError: too many tokens wait already.
        """
        with self._lock:
            after = self._waiting + tokens
            late = self._rate > 0 and after / self._rate > _SHARE_OF_DEADLINE * timeout_s
            if self._waiting and (after > self.max_tokens or late):
                raise OverloadedError(self._waiting, self._seconds(self._waiting))
            self._waiting = after
        return Reservation(self, tokens)

    def change(self, tokens: int) -> None:
        """Add to what waits; negative for what does no more."""
        with self._lock:
            self._waiting += tokens

    def _seconds(self, tokens: int) -> int:
        return max(1, math.ceil(tokens / self._rate)) if self._rate else 1
