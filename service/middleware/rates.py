"""How often somebody does something: counted over a sliding window, in bounded memory."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address, ip_network

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

# Whoever has so many addresses is not held by a rate, but must not fill the memory.
_MAX_COUNTERS = 10_000
_PERIODS = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}


class Rate:
    """A number of times in a period, for each who does it.

    Args:
        rate: as in ``600/minute``.
    """

    def __init__(self, rate: str) -> None:
        self._rate = parse(rate)
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    def hit(self, who: str) -> bool:
        """Count one more, unless that is too often; return whether it was counted."""
        if len(self._storage.storage) >= _MAX_COUNTERS:
            self._storage.reset()
        return self._limiter.hit(self._rate, who)

    def test(self, who: str) -> bool:
        """Return whether one more would be counted."""
        return self._limiter.test(self._rate, who)

    def wait_s(self, who: str) -> int:
        """Return after how many seconds to try again."""
        reset = self._limiter.get_window_stats(self._rate, who).reset_time
        return max(1, math.ceil(reset - time.time()))

    def exceeded(self, what: str) -> str:
        """Return what is said of somebody who does it too often: "more than 600 requests in a minute"."""
        period = self._rate.get_expiry()
        return f"more than {self._rate.amount} {what} in {_PERIODS.get(period, f'{period} s')}"


def household(address: str) -> str:
    """Return what counts as one client: an address, of IPv6 the network of 64 bits that one client usually has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((int(parsed) >> 64 << 64, 64)))
    return address
