"""When to try again, and how long to wait before it: full jitter, Retry-After, and one deadline over all tries."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from secateur.models.errors import InputError

# Answers that another try may turn into a good one. Not 500, a request on which the model fails, nor 504, where the
# service has already spent the request's whole time on it.
RETRIED = frozenset({429, 502, 503})


@dataclass(frozen=True, slots=True)
class Retry:
    """How a client tries again.

    Args:
        retries: further tries after a status 429, 502 or 503 or a lost connection; pruning changes nothing at the
            service, so that a request may be sent twice.
        base_s: bound of the first wait, which doubles with each further one; each wait is drawn evenly from zero to
            its bound, so that clients that failed together do not come back together.
        cap_s: largest bound.
        max_retry_after_s: most that a Retry-After is followed; one beyond is followed so far.

    Raises:
        InputError: one of them is out of range.
    """

    retries: int = 3
    base_s: float = 0.25
    cap_s: float = 8.0
    max_retry_after_s: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise InputError("retries", f"{self.retries!r} is not a whole number of at least 0", "give 0 or more")
        for name in ("base_s", "cap_s", "max_retry_after_s"):
            if not getattr(self, name) >= 0:
                raise InputError(name, f"{getattr(self, name)!r} is negative", "give seconds")

    def wait_s(self, failures: int, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row.

        Args:
            failures: so far, at least 1.
            retry_after_s: that the service asked for; it is a floor, and jitter comes on top.
        """
        bound = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        jitter = random.uniform(0.0, bound)
        if retry_after_s is None:
            return jitter
        return min(retry_after_s, self.max_retry_after_s) + jitter


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as seconds or as an HTTP date.

    Args:
        value: of the header; None, or what cannot be read, gives None.
        now: the time that a date is counted from; default: that of the clock.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


class Attempts:
    """The tries of one request, under one deadline.

    Args:
        retry: the policy.
        timeout_s: for everything together, waits included.
    """

    def __init__(self, retry: Retry, timeout_s: float) -> None:
        self._retry = retry
        self._end = time.monotonic() + timeout_s
        self.failures = 0

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, not below 0."""
        return max(0.0, self._end - time.monotonic())

    def wait_s(self, retry_after_s: float | None = None) -> float | None:
        """Count a failure; return the seconds to wait before the next try, or None when there is none.

        There is none when the tries are used up, or when the wait would outlast the deadline.
        """
        self.failures += 1
        if self.failures > self._retry.retries:
            return None
        wait = self._retry.wait_s(self.failures, retry_after_s)
        return wait if wait < self.left_s else None
