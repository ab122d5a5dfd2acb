"""Our service against infinity-emb over HTTP, by alternating blocks of requests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants.backbone import backbone_cross_encoder
from benchmarks.infinity import HOW, infinity_server, infinity_versions
from benchmarks.memory import tree_peak_bytes
from benchmarks.server import Running, Server, running, secateur_server
from benchmarks.tables import (
    BenchTable,
    check_positive,
    median_ms,
    percentile_ms,
    ratio_cells,
    shown_mb,
    shown_rate,
)
from benchmarks.workload import BenchRequest, Timing, mixed_requests
from secateur.models.errors import SecateurError

HEADER = (
    "",
    "clients",
    "does",
    "requests a second",
    "passages a second",
    "median",
    "p95",
    "p99",
    "its time / ours",
    "range",
    "peak memory",
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How servers are measured.

    Attributes:
        clients: Numbers of concurrent clients, one series of blocks for each.
        passages: Passages of a request.
        requests: Least number of requests of a block; every client sends four or more.
        rounds: Blocks of each server and number of clients.
        infinity_python: Python of an environment with infinity-emb; without it our service is measured alone.
    """

    clients: tuple[int, ...] = (1, 16)
    passages: int = 10
    requests: int = 20
    rounds: int = 5
    infinity_python: Path | None = None

    def __post_init__(self) -> None:
        check_positive(self, "clients", "passages", "requests", "rounds")

    def block(self, clients: int) -> int:
        """Return the number of requests of a block, the same for every client."""
        return -(-max(self.requests, 4 * clients) // clients) * clients


@dataclass(slots=True)
class Series:
    """The measurements of a server with one number of clients.

    Attributes:
        blocks: Seconds of each block.
        latencies: Seconds of each request.
        peak: Peak resident memory so far, in bytes.
    """

    blocks: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak: int = 0


def measure_servers(servers: Sequence[Running], data: Path, clients: int, options: HttpOptions) -> list[Series]:
    """Send blocks of requests to servers in turn, in reverse order in every other round, after one round to warm up."""
    count = options.block(clients)
    requests = mixed_requests(data, options.passages, count * (options.rounds + 1))
    series = [Series() for _ in servers]
    for number in range(options.rounds + 1):
        of_round = requests[number * count : (number + 1) * count]
        pairs = list(zip(servers, series, strict=True))
        for server, its_series in pairs if number % 2 else pairs[::-1]:
            bodies = server.server.bodies(of_round)
            started = time.perf_counter()
            latencies = server.post_all(bodies, clients)
            if number:
                its_series.blocks.append(time.perf_counter() - started)
                its_series.latencies += latencies
    for server, its_series in zip(servers, series, strict=True):
        its_series.peak = tree_peak_bytes(server.pid)
    return series


def server_row(server: Server, clients: int, options: HttpOptions, series: Series, ours: Series) -> list[str]:
    """Return the row of a server, with its times relative to ours."""
    relative = ["1", ""]
    if series is not ours:
        relative = ratio_cells(Timing("", tuple(series.blocks)), Timing("", tuple(ours.blocks)))
    requests_s = len(series.latencies) / sum(series.blocks)
    return [
        server.name,
        str(clients),
        server.does,
        shown_rate(requests_s),
        shown_rate(requests_s * options.passages),
        median_ms(series.latencies),
        *(percentile_ms(series.latencies, percent) for percent in (95, 99)),
        *relative,
        shown_mb(series.peak),
    ]


def _start(stack: ExitStack, options: HttpOptions, first: BenchRequest) -> tuple[list[Running], str]:
    """Start our service and, if it is available, infinity-emb; return them with a note on infinity-emb."""
    servers = [stack.enter_context(running(secateur_server(), first))]
    if options.infinity_python is None:
        return servers, f"infinity-emb was not measured; to measure it: {HOW}."
    try:
        versions = infinity_versions(options.infinity_python)
        model = backbone_cross_encoder(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secateur-bench-"))))
        servers.append(stack.enter_context(running(infinity_server(options.infinity_python, model), first)))
    except SecateurError as error:
        return servers, f"infinity-emb was not measured: {error}. To measure it: {HOW}."
    return servers, f"infinity-emb serves the base encoder of Secateur's model in torch fp32 ({versions})."


def measure_http(data: Path, options: HttpOptions) -> BenchTable:
    """Measure servers with one client and with many.

    Raises:
        DataError: The data has too few passages.
        SecateurError: A server failed.
    """
    rows = []
    with ExitStack() as stack:
        servers, said = _start(stack, options, mixed_requests(data, options.passages, 1)[0])
        for clients in sorted(set(options.clients)):
            series = measure_servers(servers, data, clients, options)
            for server, its_series in zip(servers, series, strict=True):
                rows.append(server_row(server.server, clients, options, its_series, series[0]))
    blocks = " and ".join(f"{options.block(n)} requests of {n} clients" for n in sorted(set(options.clients)))
    note = (
        f"A request is one query with {options.passages} real passages of mixed lengths; a client sends it over "
        "loopback on a kept-alive connection, and the next one as soon as it is answered. Blocks of "
        f"{blocks} go to the servers in turn, {options.rounds} of each after one to warm up. Times are compared block "
        "by block: median and range. Clients share the processors with the servers. Peak memory is the sum over the "
        f"processes of a server. {said}"
    )
    return BenchTable(HEADER, rows, note)
