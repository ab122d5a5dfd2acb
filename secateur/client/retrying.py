"""When a request is tried again, and after how long: full jitter, with the service's Retry-After as a lower bound.

Own code, not tenacity: a wait depends on the Retry-After of the last answer and must end before the deadline of all
tries, and one state machine serves both clients. tenacity has neither rule, and one machine each for sync and async.
"""

from __future__ import annotations

import email.utils
import random
from datetime import UTC, datetime

# Statuses that another try may turn into an answer. Not 500, a request on which the model fails, and not 504, for
# which the service has already spent the request's whole time.
RETRIED = frozenset({429, 502, 503})

BASE_S = 0.25  # bound of the first wait; it doubles with each further one
CAP_S = 8.0  # largest bound
MAX_RETRY_AFTER_S = 30.0


def backoff_s(failures: int, retry_after_s: float | None = None) -> float:
    """Return the seconds to wait, drawn evenly below a bound, so that clients do not return at the same moment.

    Args:
        failures: number of failures so far, at least 1.
        retry_after_s: seconds that the service asked for, which the drawn wait is added to.
    """
    jitter = random.uniform(0.0, min(CAP_S, BASE_S * 2.0 ** min(failures - 1, 60)))
    return min(retry_after_s or 0.0, MAX_RETRY_AFTER_S) + jitter


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header, or None if it is absent or malformed.

    Args:
        value: number of seconds, or an HTTP date.
        now: time that a date is compared with; default: the current time.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
