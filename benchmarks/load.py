"""Our service compared with the engine inside it, and under more load than it can carry."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.server import HOST, Running, running, secateur_server
from benchmarks.tables import BenchTable, check_positive, median_ms, percentile_ms, ratio_cells, shown_ms, shown_rate
from benchmarks.workload import BenchRequest, interleave, mixed_requests
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest, PruneResult

_OVERLOAD = 3  # times the rate that the service can carry
_CLIENTS = 16
_TIMEOUT_MS = 2000
_WARM_S = 10.0
_PROBE_S = 0.1
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How the service is loaded.

    Attributes:
        passages: Numbers of passages of a request, one series of blocks for each.
        requests: Requests of a block.
        rounds: Blocks of each way to call.
        seconds: Duration of the overload.
    """

    passages: tuple[int, ...] = (1, 10)
    requests: int = 64
    rounds: int = 5
    seconds: float = 60.0

    def __post_init__(self) -> None:
        check_positive(self, "passages", "requests", "rounds", "seconds")


@dataclass(slots=True)
class Overload:
    """What happened under overload.

    Attributes:
        statuses: Number of answers by HTTP status; 0 for no answer.
        latencies: Seconds of each request answered with 200.
        wrong: Answers that differ from the library's.
        warm_bytes: Peak resident memory in the first ten seconds.
        end_bytes: Peak resident memory.
        recovery_s: Seconds after the last request until one was answered with 200 again.
    """

    statuses: Counter[int] = field(default_factory=Counter)
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


def _prune_request(request: BenchRequest) -> PruneRequest:
    options = PruneOptions(truncate_query=True)
    return PruneRequest(request.query, tuple(Passage(text) for text in request.passages), options)


def _throughput(
    server: Running, pruner: Pruner, data: Path, passages: int, options: LoadOptions
) -> tuple[list[list[str]], float]:
    """Return the rows of one number of passages, and the rate of many clients in requests a second."""
    requests = mixed_requests(data, passages, options.requests)
    bodies = server.server.bodies(requests)
    prune_requests = [_prune_request(request) for request in requests]
    of_engine, concurrent, alone = interleave(
        {
            "the engine alone": lambda: pruner.prune_many(prune_requests),
            f"the service, {_CLIENTS} clients": partial(server.post_all, bodies, _CLIENTS),
            "the service, one request at a time": partial(server.post_all, bodies, 1),
        },
        options.rounds,
    )
    rows = []
    for timing in (of_engine, concurrent, alone):
        rate = len(requests) / timing.median
        rates = [shown_rate(rate), shown_rate(rate * passages)]
        rows.append([timing.name, str(passages), *rates, *ratio_cells(of_engine, timing)])
    name = f"{_CLIENTS} clients over one at a time"
    return [*rows, [name, str(passages), "", "", *ratio_cells(alone, concurrent)]], len(requests) / concurrent.median


async def _overload(
    server: Running, bodies: Sequence[bytes], expected: Sequence[PruneResult], rate: float, seconds: float
) -> Overload:
    """Send requests at a fixed rate, whether or not they are answered."""
    import httpx
    import psutil

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request
    seen = Overload()
    process = psutil.Process(server.pid)
    headers = {"Content-Type": "application/json", "X-Request-Timeout-Ms": str(_TIMEOUT_MS)}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    address = f"http://{HOST}:{server.port}"
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60, limits=limits) as client:

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
        seen.statuses.update(await asyncio.gather(*tasks))
    return seen


def _overloaded(server: Running, pruner: Pruner, data: Path, carried: float, options: LoadOptions) -> str:
    """Overload the service, and describe what happened."""
    passages = max(options.passages)
    requests = mixed_requests(data, passages, options.requests)
    expected = pruner.prune_many([_prune_request(request) for request in requests])
    rate = carried * _OVERLOAD
    seen = asyncio.run(_overload(server, server.server.bodies(requests), expected, rate, options.seconds))
    others = {status: count for status, count in sorted(seen.statuses.items()) if status not in (200, 429)}
    return (
        f"Overload: {rate:.1f} requests a second of {passages} passages, {_OVERLOAD} times the rate that {_CLIENTS} "
        f"clients reached, for {options.seconds:g} s, with a deadline of {_TIMEOUT_MS} ms: {seen.statuses[200]} were "
        f"answered with 200, {seen.statuses[429]} with 429, {sum(others.values())} otherwise"
        f"{f' ({others})' if others else ''}; {seen.wrong} answers differed from the library's; latency of answers: "
        f"median {median_ms(seen.latencies)}, p99 {percentile_ms(seen.latencies, 99)}, maximum "
        f"{shown_ms(max(seen.latencies) * 1e3)}; memory grew by {seen.end_bytes / seen.warm_bytes - 1:.1%} after the "
        f"first ten seconds, to {seen.end_bytes / 1e6:,.0f} MB; {seen.recovery_s:.1f} s after the last request a new "
        "one had been answered."
    )


def measure_load(data: Path, options: LoadOptions) -> BenchTable:
    """Compare our service with its engine, then overload it.

    Raises:
        DataError: The data has too few passages.
        SecateurError: The server failed.
    """
    rows: list[list[str]] = []
    with running(secateur_server(), mixed_requests(data, max(options.passages), 1)[0]) as server:
        pruner = Pruner.load(device="cpu")
        for passages in options.passages:
            its_rows, rate = _throughput(server, pruner, data, passages, options)
            rows += its_rows
        said = _overloaded(server, pruner, data, rate, options)
    note = (
        f"Requests of real queries with real passages of mixed lengths, {options.requests} per block, over loopback on "
        f"kept-alive connections, {options.rounds} blocks in turn after one to warm up; ratios block by block: median "
        "and range. The engine alone gets all requests in one call, in this process. Clients share the processors with "
        f"the service. {said}"
    )
    header = ("", "passages a request", "requests a second", "passages a second", "ratio", "range")
    return BenchTable(header, rows, note)
