"""Our service beside the engine inside it, and under more load than it can carry (`secateur bench load`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.latency import percentile_ms, shown_ms, shown_rate
from benchmarks.overload import TIMEOUT_MS, overload
from benchmarks.report import BenchTable
from benchmarks.server import Running, running, secateur_server
from benchmarks.workload import BenchRequest, interleave, mixed_requests, paired_ratio
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest

_OVERLOAD = 3  # times what the service can carry
_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How the service is loaded.

    Attributes:
        passages: of a request; one series for each number.
        requests: of a block.
        rounds: blocks of each way to ask.
        seconds: of overload.
    """

    passages: tuple[int, ...] = (1, 10)
    requests: int = 64
    rounds: int = 5
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if min((*self.passages, self.requests, self.rounds)) < 1:
            raise InputError("--rounds", "rounds, passages and requests must be positive", "give 1 or more")
        if not self.seconds > 0:
            raise InputError("--seconds", f"{self.seconds:g} is no duration", "give seconds above 0")


def _as_prune_request(request: BenchRequest) -> PruneRequest:
    options = PruneOptions(truncate_query=True)
    return PruneRequest(request.query, tuple(Passage(text) for text in request.passages), options)


def _asker(server: Running, bodies: list[bytes], clients: int) -> Callable[[], None]:
    """Return a function that has clients post all bodies, each client its share one after the other."""

    def client(share: list[bytes]) -> None:
        connection = server.connect()
        try:
            for body in share:
                connection.post(body)
        finally:
            connection.close()

    def run() -> None:
        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(client, bodies[number::clients]) for number in range(clients)]:
                done.result()

    return run


def _throughput(
    server: Running, pruner: Pruner, data: Path, passages: int, options: LoadOptions
) -> tuple[list[list[str]], float]:
    """Return the rows of one number of passages, and the seconds of many clients' block."""
    requests = mixed_requests(data, passages, options.requests)
    bodies = [json.dumps(server.server.body(request)).encode() for request in requests]
    prune_requests = [_as_prune_request(request) for request in requests]
    of_engine, at_once, alone = interleave(
        {
            "the engine alone": lambda: pruner.prune_many(prune_requests),
            f"the service, {_CLIENTS} clients": _asker(server, bodies, _CLIENTS),
            "the service, one request at a time": _asker(server, bodies, 1),
        },
        options.rounds,
    )
    rows = []
    for timing in (of_engine, at_once, alone):
        middle, low, high = paired_ratio(of_engine, timing)
        rows.append(
            [
                timing.name,
                str(passages),
                shown_rate(len(requests) / timing.median),
                shown_rate(len(requests) * passages / timing.median),
                f"{middle:.2f}",
                f"{low:.2f} to {high:.2f}",
            ]
        )
    middle, low, high = paired_ratio(alone, at_once)
    rows.append(
        [f"{_CLIENTS} clients over one at a time", str(passages), "", "", f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
    )
    return rows, at_once.median


def _overloaded(server: Running, pruner: Pruner, data: Path, rate: float, options: LoadOptions) -> str:
    requests = mixed_requests(data, max(options.passages), options.requests)
    bodies = [json.dumps(server.server.body(request)).encode() for request in requests]
    seen = overload(
        server, bodies, pruner.prune_many([_as_prune_request(r) for r in requests]), rate * _OVERLOAD, options.seconds
    )
    others = {status: count for status, count in sorted(seen.statuses.items()) if status not in (200, 429)}
    growth = seen.end_bytes / seen.warm_bytes - 1
    return (
        f"Overload: {rate * _OVERLOAD:.1f} requests a second of {max(options.passages)} passages, {_OVERLOAD} times "
        f"what {_CLIENTS} clients got answered, for {options.seconds:g} s, with a deadline of {TIMEOUT_MS} ms: "
        f"{seen.statuses.get(200, 0)} answered by 200, {seen.statuses.get(429, 0)} by 429, {sum(others.values())} "
        f"otherwise{f' ({others})' if others else ''}; {seen.wrong} answers other than the library's; of those "
        f"answered p50 {shown_ms(percentile_ms(seen.latencies, 50))}, p99 "
        f"{shown_ms(percentile_ms(seen.latencies, 99))}, at most {shown_ms(max(seen.latencies) * 1e3)}; memory grew by "
        f"{growth:.1%} after the first ten seconds, to {seen.end_bytes / 1e6:,.0f} MB; {seen.recovery_s:.1f} s after "
        "the last request a new one had been answered."
    )


def measure_load(data: Path, options: LoadOptions | None = None) -> BenchTable:
    """Measure our service beside its engine, then overload it.

    Args:
        data: labelled examples to take queries and passages from.
        options: how.

    Raises:
        DataError: there are too few passages.
        SecateurError: the server failed under way.
    """
    options = options or LoadOptions()
    rows: list[list[str]] = []
    with ExitStack() as stack:
        server = stack.enter_context(running(secateur_server(), mixed_requests(data, max(options.passages), 1)[0]))
        pruner = Pruner.load(device="cpu")
        for passages in options.passages:
            its_rows, at_once = _throughput(server, pruner, data, passages, options)
            rows += its_rows
            rate = options.requests / at_once
        said = _overloaded(server, pruner, data, rate, options)
    note = (
        f"Requests of real queries with real passages of mixed lengths, {options.requests} of them a block, over "
        f"loopback and kept-alive connections, {options.rounds} blocks in turn after one to warm up; ratios block by "
        "block: median and range. The engine alone is handed all requests at once, in this process. Clients share the "
        f"processors with the service. {said}"
    )
    header = ("", "passages a request", "requests a second", "passages a second", "ratio", "range")
    return BenchTable(header, rows, note)
