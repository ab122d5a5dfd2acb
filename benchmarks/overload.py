"""Our service under more load than it can carry: who is answered, how, how fast, and in how much memory."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.server import HOST, Running
from secateur.models.errors import MissingExtraError
from secateur.models.types import PruneResult

TIMEOUT_MS = 2000
_WARM_S = 10.0
_PROBE_S = 0.1
_TOLERANCE = 1e-4


@dataclass(slots=True)
class Overload:
    """What was seen.

    Attributes:
        statuses: number of answers by HTTP status; 0 for none.
        latencies: seconds of each request that was answered by 200.
        wrong: answers other than the library's.
        warm_bytes: resident after the first ten seconds.
        end_bytes: resident at most after that.
        recovery_s: seconds after the last request until one was answered by 200 again.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    warm_bytes: int = 0
    end_bytes: int = 0
    recovery_s: float = float("nan")


def is_right(content: dict[str, Any], expected: PruneResult) -> bool:
    """Whether an answer is the library's, up to rounding of scores."""
    found = content["results"]
    return len(found) == len(expected.results) and all(
        (got["index"], got["text"]) == (want.index, want.text) and abs(got["score"] - want.score) <= _TOLERANCE
        for got, want in zip(found, expected.results, strict=True)
    )


async def _overload(
    server: Running, bodies: Sequence[bytes], expected: Sequence[PruneResult], rate: float, seconds: float
) -> Overload:
    try:
        import httpx
        import psutil
    except ImportError as error:
        raise MissingExtraError("httpx and psutil", "eval") from error
    seen = Overload()
    process = psutil.Process(server.pid)
    headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": str(TIMEOUT_MS)}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=f"http://{HOST}:{server.port}", headers=headers, timeout=60, limits=limits
    ) as client:

        async def ask(number: int) -> int:
            started = time.perf_counter()
            try:
                response = await client.post(server.server.path, content=bodies[number])
            except httpx.TransportError:
                return 0
            if response.status_code == httpx.codes.OK:
                seen.latencies.append(time.perf_counter() - started)
                seen.wrong += not is_right(json.loads(response.content), expected[number])
            return response.status_code

        started = time.perf_counter()
        tasks: list[asyncio.Task[int]] = []
        while (elapsed := time.perf_counter() - started) < seconds:
            tasks.append(asyncio.create_task(ask(len(tasks) % len(bodies))))
            resident = process.memory_info().rss
            if elapsed < _WARM_S:
                seen.warm_bytes = max(seen.warm_bytes, resident)
            seen.end_bytes = max(seen.end_bytes, resident)
            await asyncio.sleep(max(0.0, len(tasks) / rate - (time.perf_counter() - started)))
        ended = time.perf_counter()
        while await ask(0) != httpx.codes.OK:
            await asyncio.sleep(_PROBE_S)
        seen.recovery_s = time.perf_counter() - ended
        seen.latencies.pop()
        for status in await asyncio.gather(*tasks):
            seen.statuses[status] = seen.statuses.get(status, 0) + 1
    return seen


def overload(
    server: Running, bodies: Sequence[bytes], expected: Sequence[PruneResult], rate: float, seconds: float
) -> Overload:
    """Send requests at a fixed rate, whether or not they are answered.

    Args:
        server: that is asked.
        bodies: of the requests, sent in turn.
        expected: the library's answer to each.
        rate: requests a second.
        seconds: that it lasts.

    Raises:
        MissingExtraError: httpx or psutil is not installed.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request
    return asyncio.run(_overload(server, bodies, expected, rate, seconds))
