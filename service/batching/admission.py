"""Admission: which requests are taken on, by the work that waits already and the time that each has."""

from __future__ import annotations

import math
import threading

from secateur.models.errors import InputError
from secateur.models.types import PruneRequest
from secateur.service.batching.errors import OverloadedError
from secateur.service.batching.speed import Load, Speed

_CHARACTERS_A_TOKEN = 4
_SPECIALS = 3  # special tokens of a window
_SHARE_OF_DEADLINE = 0.8  # a request that would wait longer than this is refused at once, rather than answered late
_DOUBT = 1.5  # an estimate may be wrong by this factor
_LONGEST_RETRY_S = 60


def estimated_load(request: PruneRequest, window: int) -> Load:
    """Return about how much work a request is: its query beside each window of its passages.

    Args:
        request: not yet encoded.
        window: tokens of the model's window, of which a query takes at most half.
    """
    query = min(len(request.query) // _CHARACTERS_A_TOKEN + 1, window // 2 - _SPECIALS) + _SPECIALS
    characters = sum(len(passage.text) + len(passage.title or "") for passage in request.passages)
    text = characters // _CHARACTERS_A_TOKEN
    windows = len(request.passages) + text // max(1, window - query)
    return Load(windows, windows * query + text)


class Reservation:
    """The work of one request, which counts while anybody is in its context: who waits for it, and who works on it.

    Attributes:
        load: how much work it is; set anew once that is known better.

    Args:
        admission: that admitted it.
    """

    def __init__(self, admission: Admission, load: Load) -> None:
        self._admission = admission
        self.load = load

    def __enter__(self) -> Reservation:
        self._admission.hold(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.release(self)


class Admission:
    """Knows the work of all admitted requests, and admits those that can be answered in time. Thread-safe.

    The engine serves requests in turns. So a request waits for what others have up to its own size, or up to one turn
    if it is smaller: this is what is ahead of it, and a large request does not keep small ones out.

    Args:
        max_tokens: that a request and what is ahead of it may have. A larger one is admitted when nothing else waits.
        turn_tokens: that a request gets in its turn.
    """

    def __init__(self, max_tokens: int, turn_tokens: int) -> None:
        self.speed = Speed(turn_tokens)
        self._max_tokens = max_tokens
        self._turn_tokens = turn_tokens
        self._lock = threading.Lock()
        self._holders: dict[Reservation, int] = {}

    @property
    def waiting(self) -> int:
        """Tokens of the admitted requests on which work has not ended, whether or not anybody waits for the answer."""
        with self._lock:
            return sum(reservation.load.tokens for reservation in self._holders)

    def reserve(self, load: Load, timeout_s: float) -> Reservation:
        """Admit a request.

        Raises:
            InputError: it would not be answered in time even alone; see `check_feasible`.
            OverloadedError: others wait, and it would come too late after them, or the queue is full.
        """
        self.check_feasible(load, timeout_s)
        with self._lock:
            if self._holders:
                self._check_room(load, timeout_s)
            reservation = Reservation(self, load)
            self._holders[reservation] = 0
        return reservation

    def _check_room(self, load: Load, timeout_s: float) -> None:
        ahead = self._ahead(load.tokens)
        together = Load(ahead.windows + load.windows, ahead.tokens + load.tokens)
        late = self.speed.seconds(together) > _SHARE_OF_DEADLINE * timeout_s
        if late or together.tokens > self._max_tokens:
            wait_s = math.ceil(self.speed.seconds(ahead))
            raise OverloadedError(ahead.tokens, min(max(1, wait_s), _LONGEST_RETRY_S))

    def _ahead(self, tokens: int) -> Load:
        """Return what will be run before a request of so many tokens has ended."""
        most = max(tokens, self._turn_tokens)
        windows = ahead = 0.0
        for load in (reservation.load for reservation in self._holders):
            share = min(1.0, most / max(1, load.tokens))
            windows += share * load.windows
            ahead += share * load.tokens
        return Load(math.ceil(windows), math.ceil(ahead))

    def check_feasible(self, load: Load, seconds_left: float) -> None:
        """Refuse work that takes longer than it may, even alone. Nothing is refused before the speed is known.

        Raises:
            InputError: so it is, by the speed that was measured and beyond doubt.
        """
        needed_s = self.speed.seconds(load)
        if needed_s > _DOUBT * seconds_left:
            raise InputError(
                "passages",
                f"would take about {needed_s:.3g} s ({load.tokens} tokens at {load.tokens / needed_s:.0f} a second), "
                f"and the request has {max(0.0, seconds_left):.3g} s",
                "send fewer or shorter passages, or allow more time",
            )

    def hold(self, reservation: Reservation) -> None:
        """Count a reservation for one more holder."""
        with self._lock:
            self._holders[reservation] = self._holders.get(reservation, 0) + 1

    def release(self, reservation: Reservation) -> None:
        """Count a reservation for one holder less, and no more after the last one."""
        with self._lock:
            self._holders[reservation] -= 1
            if not self._holders[reservation]:
                del self._holders[reservation]
