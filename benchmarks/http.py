"""Our service against infinity-emb over HTTP, by alternating blocks of requests (`secateur bench http`)."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants.backbone import backbone_cross_encoder
from benchmarks.infinity import HOW, infinity_server, infinity_versions
from benchmarks.latency import percentile_ms, shown_ms, shown_rate
from benchmarks.memory import tree_peak_bytes
from benchmarks.report import BenchTable
from benchmarks.server import Running, Server, running, secateur_server
from benchmarks.workload import BenchRequest, Timing, mixed_requests, paired_ratio
from secateur.models.errors import InputError, SecateurError

HEADER = (
    "",
    "clients at once",
    "does",
    "requests a second",
    "passages a second",
    "p50",
    "p95",
    "p99",
    "its time / ours",
    "range",
    "peak memory",
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How servers are asked.

    Attributes:
        clients: at once; one series of blocks for each number.
        passages: of a request.
        requests: of a block, at least; every client makes four or more.
        rounds: blocks of each server and number of clients.
        infinity_python: of an environment with infinity-emb; None to measure our service alone.
    """

    clients: tuple[int, ...] = (1, 16)
    passages: int = 10
    requests: int = 20
    rounds: int = 5
    infinity_python: Path | None = None

    def __post_init__(self) -> None:
        if not self.clients or min(self.clients) < 1:
            raise InputError("--clients", f"{self.clients} is no list of numbers of clients", "say e.g. 1,16")
        if min(self.passages, self.requests, self.rounds) < 1:
            raise InputError("--rounds", "rounds, passages and requests must be positive", "give 1 or more")

    def block(self, clients: int) -> int:
        """Return the number of requests of a block, the same for every client."""
        return -(-max(self.requests, 4 * clients) // clients) * clients


@dataclass(slots=True)
class Series:
    """What a server did for one number of clients.

    Attributes:
        blocks: seconds of each block.
        latencies: seconds of each request.
        peak: bytes resident at most so far, after the last block.
    """

    blocks: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak: int = 0


def _client(server: Running, bodies: Sequence[bytes]) -> list[float]:
    """Make requests one after the other; return the seconds of each."""
    connection = server.connect()
    seconds = []
    try:
        for body in bodies:
            started = time.perf_counter()
            connection.post(body)
            seconds.append(time.perf_counter() - started)
    except OSError as error:
        raise SecateurError(f"{server.server.name} left a request without an answer ({error})") from error
    finally:
        connection.close()
    return seconds


def _block(server: Running, requests: Sequence[BenchRequest], clients: int, series: Series) -> None:
    """Have clients make requests at once, and note block and latencies."""
    bodies = [json.dumps(server.server.body(request)).encode() for request in requests]
    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        answers = [pool.submit(_client, server, bodies[number::clients]) for number in range(clients)]
        for answer in answers:
            series.latencies += answer.result()
        series.blocks.append(time.perf_counter() - started)


def measure_servers(servers: Sequence[Running], data: Path, clients: int, options: HttpOptions) -> list[Series]:
    """Give servers blocks in turn, so that only one of them works at a time, the first one second in the next round."""
    count = options.block(clients)
    requests = mixed_requests(data, options.passages, count * (options.rounds + 1))
    series = [Series() for _ in servers]
    for number in range(options.rounds + 1):
        of_round = requests[number * count : (number + 1) * count]
        pairs = list(zip(servers, series, strict=True))
        for server, its_series in pairs if number % 2 else pairs[::-1]:
            _block(server, of_round, clients, its_series if number else Series())
    for server, its_series in zip(servers, series, strict=True):
        its_series.peak = tree_peak_bytes(server.pid)
    return series


def server_row(server: Server, clients: int, options: HttpOptions, series: Series, ours: Series) -> list[str]:
    """Return a server's row, its times beside ours."""
    ratio, range_ = "1", ""
    if series is not ours:
        middle, low, high = paired_ratio(Timing("", tuple(series.blocks)), Timing("", tuple(ours.blocks)))
        ratio, range_ = f"{middle:.2f}", f"{low:.2f} to {high:.2f}"
    requests_s = len(series.latencies) / sum(series.blocks)
    return [
        server.name,
        str(clients),
        server.does,
        shown_rate(requests_s),
        shown_rate(requests_s * options.passages),
        *(shown_ms(percentile_ms(series.latencies, percent)) for percent in (50, 95, 99)),
        ratio,
        range_,
        f"{series.peak / 1e6:,.0f} MB",
    ]


def _start(stack: ExitStack, options: HttpOptions, first: BenchRequest) -> tuple[list[Running], str]:
    """Start our service and, where it can be had, infinity-emb; return them, and why one is missing."""
    servers = [stack.enter_context(running(secateur_server(), first))]
    if options.infinity_python is None:
        return servers, f"infinity-emb was not measured; to do so: {HOW}."
    try:
        versions = infinity_versions(options.infinity_python)
        model = backbone_cross_encoder(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secateur-bench-"))))
        servers.append(stack.enter_context(running(infinity_server(options.infinity_python, model), first)))
    except SecateurError as error:
        return servers, f"infinity-emb was not measured: {error}. To do so: {HOW}."
    said = "infinity-emb serves, in torch fp32, the encoder that Secateur's model was fine-tuned from"
    return servers, f"{said} ({versions})."


def _note(options: HttpOptions) -> str:
    blocks = " and ".join(f"{options.block(n)} requests of {n} clients" for n in sorted(set(options.clients)))
    return (
        f"A request is one query with {options.passages} real passages of mixed lengths; a client sends it over "
        "loopback and a kept-alive connection, and the next one as soon as it is answered. Blocks of "
        f"{blocks} go to the servers in turn, {options.rounds} of each after one to warm up, so that one server works "
        "at a time; times are compared block by block: median and range. Clients share the processors with the "
        "servers. Peak memory is that of the server's processes together, up to then."
    )


def measure_http(data: Path, options: HttpOptions | None = None) -> BenchTable:
    """Measure servers under one client and under many.

    Args:
        data: labelled examples to take queries and passages from.
        options: how.

    Raises:
        DataError: there are too few passages.
        SecateurError: a server failed under way.
    """
    options = options or HttpOptions()
    rows = []
    with ExitStack() as stack:
        servers, said = _start(stack, options, mixed_requests(data, options.passages, 1)[0])
        for clients in sorted(set(options.clients)):
            series = measure_servers(servers, data, clients, options)
            for server, its_series in zip(servers, series, strict=True):
                rows.append(server_row(server.server, clients, options, its_series, series[0]))
    return BenchTable(HEADER, rows, f"{_note(options)} {said}")
