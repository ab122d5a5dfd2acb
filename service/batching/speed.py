"""Speed: how long work takes, learned from the steps that ran."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

# How costs compare before they are known: a step is a quarter of a full step's tokens, a window is sixteen tokens.
_STEP_PART = 0.25
_WINDOW_TOKENS = 16
_RISE, _FALL = 0.1, 0.4  # share of an error that is corrected: a slow step may have been an accident, a fast one not
_HALF_LIFE_S = 60.0  # without steps, costs fade: an old measurement must not refuse work for ever


class Load(NamedTuple):
    """An amount of work for the network."""

    windows: int
    tokens: int


class Speed:
    """Estimates seconds as a cost for each step, each window and each token, none of them negative. Thread-safe.

    The costs follow the steps by normalized least mean squares: the error of a step's estimate is shared among the
    costs in proportion to what the step was made of. So many steps of one kind say nothing wrong about another kind,
    as a single figure of tokens a second would.

    Args:
        step_tokens: of a full step.
        clock: seconds, for tests.
    """

    def __init__(self, step_tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._step_tokens = step_tokens
        self._clock = clock
        self._costs = (0.0, 0.0, 0.0)
        self._measured_at = -1.0

    @property
    def known(self) -> bool:
        """Whether a step has run."""
        return any(self._costs)

    def ran(self, load: Load, seconds: float) -> None:
        """Learn from a step. From one thread."""
        parts = self._parts(1.0, load)
        error = seconds - self._cost(parts)
        share = 1.0 if not self.known else _RISE if error > 0 else _FALL
        move = share * error / sum(part * part for part in parts)
        step, window, token = (max(0.0, cost + move * part) for cost, part in zip(self._costs, parts, strict=True))
        self._costs = step, window, token
        self._measured_at = self._clock()

    def seconds(self, load: Load) -> float:
        """Return how long work takes in full steps; 0 as long as nothing is known."""
        age_s = self._clock() - self._measured_at
        return self._cost(self._parts(load.tokens / self._step_tokens, load)) * math.pow(0.5, age_s / _HALF_LIFE_S)

    def _parts(self, steps: float, load: Load) -> tuple[float, float, float]:
        return steps * _STEP_PART, load.windows * _WINDOW_TOKENS / self._step_tokens, load.tokens / self._step_tokens

    def _cost(self, parts: tuple[float, float, float]) -> float:
        return sum(cost * part for cost, part in zip(self._costs, parts, strict=True))
