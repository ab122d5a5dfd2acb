"""The cost of using Secateur apart from inference: import time, start-up time and memory of the service."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.server import running, secateur_server
from benchmarks.tables import BenchTable, shown_mb
from benchmarks.workload import BenchRequest, real_pairs

PAIRS = 1000
REQUESTS = 1000
PASSAGES = 10
_IMPORT = "import time; t = time.perf_counter(); import secateur; print(time.perf_counter() - t)"


def import_seconds(runs: int = 9) -> float:
    """Return the median time of ``import secateur`` in fresh interpreters."""
    times = [
        float(subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout)
        for _ in range(runs)
    ]
    return statistics.median(times)


def measure_footprint(data: Path) -> BenchTable:
    """Measure import time, time from start to the first answer, and resident memory under requests."""
    pairs = real_pairs(data, PAIRS)
    requests = [
        BenchRequest(pairs[i][0], tuple(pairs[(i * PASSAGES + k) % PAIRS][1] for k in range(PASSAGES)))
        for i in range(REQUESTS)
    ]
    server = secateur_server()
    with running(server, requests[0]) as service:
        memory = psutil.Process(service.pid)
        sizes = [memory.memory_info().rss]
        connection = service.connect()
        for body in server.bodies(requests):
            connection.post(body)
            sizes.append(memory.memory_info().rss)
        connection.close()
    return BenchTable(
        ["", "measured"],
        [
            ["`import secateur` in a fresh interpreter", f"{import_seconds() * 1e3:.0f} ms"],
            ["from the start of `secateur serve` to its first answer", f"{service.first_answer_s:.1f} s"],
            ["resident memory after the first answer", shown_mb(sizes[0])],
            [f"resident memory after {REQUESTS} requests of {PASSAGES} passages", shown_mb(sizes[-1])],
            ["peak resident memory", shown_mb(max(sizes))],
        ],
        f"Real passages of mixed lengths from {PAIRS} pairs.",
    )
