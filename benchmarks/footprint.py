"""What using Secateur costs beside inference: import time, start-up time and memory of the service."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.report import BenchTable
from benchmarks.server import running, secateur_server
from benchmarks.workload import BenchRequest, real_pairs
from secateur.models.errors import MissingExtraError

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
    """Measure import time, time from start to the first answer, and resident memory under requests.

    Args:
        data: labelled examples to take passages from.
    """
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("psutil", "eval") from error
    pairs = real_pairs(data, PAIRS)
    requests = [
        BenchRequest(pairs[i][0], tuple(pairs[(i * PASSAGES + k) % len(pairs)][1] for k in range(PASSAGES)))
        for i in range(REQUESTS)
    ]
    server = secateur_server()
    with running(server, requests[0]) as service:
        memory = psutil.Process(service.pid)
        at_start = memory.memory_info().rss
        peak = at_start
        connection = service.connect()
        for request in requests:
            connection.post(json.dumps(server.body(request)).encode())
            peak = max(peak, memory.memory_info().rss)
        connection.close()
        at_end = memory.memory_info().rss
    return BenchTable(
        ["", "measured"],
        [
            ["`import secateur` in a fresh interpreter", f"{import_seconds() * 1e3:.0f} ms"],
            ["from start of `secateur serve` to its first answer", f"{service.first_answer_s:.1f} s"],
            ["resident memory after the first answer", f"{at_start / 1e6:.0f} MB"],
            [f"resident memory after {REQUESTS} requests of {PASSAGES} passages", f"{at_end / 1e6:.0f} MB"],
            ["peak resident memory", f"{peak / 1e6:.0f} MB"],
        ],
        f"Passages are real ones of mixed lengths from {len(pairs)} pairs.",
    )
