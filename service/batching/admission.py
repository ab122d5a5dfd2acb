"""Admission: accepting or refusing requests by the waiting work, their deadlines, and the size of their answers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from secateur.models.errors import InputError
from secateur.models.pruner import EncodedRequest
from secateur.models.types import PruneRequest
from secateur.service.errors import OverloadedError
from secateur.service.settings import Settings

_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3  # of a window
_SHARE_OF_DEADLINE = 0.8  # a request that would wait longer is refused at once instead of answered too late
_UNCERTAINTY = 1.5  # an estimate may be wrong by this factor
_MAX_RETRY_S = 60
# Initial proportions of costs: a step costs as much as a quarter of its tokens, a window as much as sixteen tokens.
_STEP_PART = 0.25
_WINDOW_TOKENS = 16
_RISE, _FALL = 0.1, 0.4  # corrected share of an error: a slow step may have been an accident, a fast one not
_HALF_LIFE_S = 60.0  # without steps, costs decay: an old measurement must not refuse work forever


class Load(NamedTuple):
    """An amount of work for the network."""

    windows: int
    tokens: int


def estimated_load(request: PruneRequest, window: int) -> Load:
    """Return the approximate work of a request that is not encoded yet: its query beside each window of its passages.

    ``window`` is the number of tokens of the model's window, of which a query takes at most half.
    """
    query = min(len(request.query) // _CHARACTERS_PER_TOKEN + 1, window // 2 - _SPECIAL_TOKENS) + _SPECIAL_TOKENS
    characters = sum(len(passage.text) + len(passage.title or "") for passage in request.passages)
    text = characters // _CHARACTERS_PER_TOKEN
    windows = len(request.passages) + text // max(1, window - query)
    return Load(windows, windows * query + text)


class Speed:
    """Estimates durations from a cost per step, per window and per token, none of them negative. Thread-safe.

    The costs follow the measured steps by normalized least mean squares: the error of an estimate is distributed over
    the costs in proportion to their parts of the step. So many steps of one kind do not distort the estimates for
    another kind, as a single rate of tokens per second would. A full step has ``step_tokens``.
    """

    def __init__(self, step_tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._step_tokens = step_tokens
        self._clock = clock
        self._costs = (0.0, 0.0, 0.0)
        self._measured_at = -1.0

    def measure(self, load: Load, seconds: float) -> None:
        """Learn from a step. Called from one thread only."""
        parts = self._parts(1.0, load)
        error = seconds - self._cost(parts)
        share = 1.0 if not any(self._costs) else _RISE if error > 0 else _FALL
        move = share * error / sum(part * part for part in parts)
        step, window, token = (max(0.0, cost + move * part) for cost, part in zip(self._costs, parts, strict=True))
        self._costs = step, window, token
        self._measured_at = self._clock()

    def seconds(self, load: Load) -> float:
        """Return the estimated duration of work in full steps; 0 until a step has been measured."""
        age_s = self._clock() - self._measured_at
        return self._cost(self._parts(load.tokens / self._step_tokens, load)) * math.pow(0.5, age_s / _HALF_LIFE_S)

    def _parts(self, steps: float, load: Load) -> tuple[float, float, float]:
        return steps * _STEP_PART, load.windows * _WINDOW_TOKENS / self._step_tokens, load.tokens / self._step_tokens

    def _cost(self, parts: tuple[float, float, float]) -> float:
        return sum(cost * part for cost, part in zip(self._costs, parts, strict=True))


class Reservation:
    """The work of one request. It counts while anybody is in its context: who waits for it, and who works on it.

    Attributes:
        load: Amount of work; corrected once it is known exactly.
    """

    def __init__(self, admission: Admission, load: Load) -> None:
        self._admission = admission
        self._holders = 0
        self.load = load

    def __enter__(self) -> Reservation:
        with self._admission.lock:
            self._holders += 1
            self._admission.held.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self._admission.lock:
            self._holders -= 1
            if not self._holders:
                self._admission.held.discard(self)


class Admission:
    """Accepts the requests that can be answered in time, given the work of all accepted ones. Thread-safe.

    The engine serves requests in turns. So a request waits for others' work only up to its own size, or up to one turn
    if it is smaller: that is the work ahead of it, and a large request does not keep small ones out. Together they have
    at most ``max_tokens``; a larger request is accepted when nothing else waits.
    """

    def __init__(self, max_tokens: int, turn_tokens: int) -> None:
        self.speed = Speed(turn_tokens)
        self.held: set[Reservation] = set()  # which count
        self.lock = threading.Lock()
        self._max_tokens = max_tokens
        self._turn_tokens = turn_tokens

    @property
    def waiting(self) -> int:
        """Tokens of the accepted requests that are unfinished, whether or not anybody waits for the answer."""
        with self.lock:
            return sum(reservation.load.tokens for reservation in self.held)

    def reserve(self, load: Load, timeout_s: float) -> Reservation:
        """Accept a request, whose work counts within the context of the reservation.

        Raises:
            InputError: It would take too long even alone; see `check_feasible`.
            OverloadedError: It would be answered too late after other requests, or the queue is full.
        """
        self.check_feasible(load, timeout_s)
        with self.lock:
            if self.held:
                self._check_room(load, timeout_s)
        return Reservation(self, load)

    def _check_room(self, load: Load, timeout_s: float) -> None:
        ahead = self._ahead(load.tokens)
        together = Load(ahead.windows + load.windows, ahead.tokens + load.tokens)
        late = self.speed.seconds(together) > _SHARE_OF_DEADLINE * timeout_s
        if late or together.tokens > self._max_tokens:
            wait_s = math.ceil(self.speed.seconds(ahead))
            raise OverloadedError(f"{ahead.tokens} tokens are already waiting", min(max(1, wait_s), _MAX_RETRY_S))

    def _ahead(self, tokens: int) -> Load:
        """Return the work that will run before a request with so many tokens ends."""
        most = max(tokens, self._turn_tokens)
        windows = ahead = 0.0
        for load in (reservation.load for reservation in self.held):
            share = min(1.0, most / max(1, load.tokens))
            windows += share * load.windows
            ahead += share * load.tokens
        return Load(math.ceil(windows), math.ceil(ahead))

    def check_feasible(self, load: Load, seconds_left: float) -> None:
        """Refuse work that takes too long even alone, by the measured speed and beyond its uncertainty."""
        needed_s = self.speed.seconds(load)
        if needed_s > _UNCERTAINTY * seconds_left:
            raise InputError(
                "passages",
                f"would take about {needed_s:.3g} s ({load.tokens} tokens at {load.tokens / needed_s:.0f} per second), "
                f"and the request has {max(0.0, seconds_left):.3g} s",
                "send fewer or shorter passages, or allow more time",
            )


def check_answer(encoded: EncodedRequest, settings: Settings) -> None:
    """Refuse a request whose answer may have too many units, or gaps longer than all passages may be together."""
    options = encoded.checked.request.options
    units = sorted(map(len, encoded.units), reverse=True)[: options.top_n]
    if options.return_units and sum(units) > settings.max_returned_units:
        raise InputError(
            "return_units",
            f"would return up to {sum(units)} units, and the limit is {settings.max_returned_units}",
            "send fewer or shorter passages, or leave it out",
        )
    marker = options.gap_marker
    ends = 2 if marker is not None and options.gap_marker_ends else 0
    gaps = sum((count - 1) // 2 + ends for count in units if count)  # the number if every other unit is kept
    # A marker is about as long as its template, and has a joiner on both sides.
    length = len(options.joiner) if marker is None else len(marker) + 2 * len(options.joiner)
    if gaps * length > settings.max_characters:
        raise InputError(
            "joiner" if marker is None else "gap_marker",
            f"of {length} characters may be inserted {gaps} times, and the limit is "
            f"{settings.max_characters} characters in total",
            "shorten it, or send fewer or shorter passages",
        )
