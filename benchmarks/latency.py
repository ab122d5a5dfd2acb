"""Latencies of single calls, and rates of what went through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile of latencies, in milliseconds; between two of them it is interpolated.

    Args:
        seconds: of each call; at least one.
        percent: in [0, 100].
    """
    return float(np.percentile(np.asarray(seconds), percent)) * 1e3


def shown_ms(milliseconds: float) -> str:
    """Return a latency for a table: three digits are enough."""
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"


def shown_rate(per_second: float) -> str:
    """Return a rate for a table."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}"
