"""What using Secateur costs beside inference: import time, start-up time and memory of the service."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur.eval.bench.report import BenchTable
from secateur.eval.bench.workload import real_pairs
from secateur.models.errors import MissingExtraError, SecateurError

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


def _post(url: str, body: dict[str, object]) -> None:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


def _first_answer(process: subprocess.Popen[bytes], url: str, body: dict[str, object]) -> None:
    """Ask until the service answers.

    Raises:
        SecateurError: it ended, or gave no answer within a minute.
    """
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline:
        try:
            _post(url, body)
            return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None:
                raise SecateurError(f"the service ended with code {process.returncode}") from None
            time.sleep(0.02)
    raise SecateurError("the service gave no answer within a minute")


@contextmanager
def _service() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "secateur", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process, f"http://127.0.0.1:{port}/v1/prune"
    finally:
        process.terminate()
        process.wait(30)


def measure_footprint(data: Path) -> BenchTable:
    """Measure import time, time from start to the first answer, and resident memory under requests.

    Args:
        data: labelled examples to take passages from.
    """
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("psutil", "eval") from error
    pairs = real_pairs(data, 1000)
    bodies: list[dict[str, object]] = [
        {"query": pairs[i][0], "passages": [pairs[(i * PASSAGES + k) % len(pairs)][1] for k in range(PASSAGES)]}
        for i in range(REQUESTS)
    ]
    started = time.perf_counter()
    with _service() as (process, url):
        _first_answer(process, url, bodies[0])
        first = time.perf_counter() - started
        memory = psutil.Process(process.pid)
        at_start = memory.memory_info().rss
        peak = at_start
        for body in bodies:
            _post(url, body)
            peak = max(peak, memory.memory_info().rss)
        at_end = memory.memory_info().rss
    return BenchTable(
        ["", "measured"],
        [
            ["`import secateur` in a fresh interpreter", f"{import_seconds() * 1e3:.0f} ms"],
            ["from start of `secateur serve` to its first answer", f"{first:.1f} s"],
            ["resident memory after the first answer", f"{at_start / 1e6:.0f} MB"],
            [f"resident memory after {REQUESTS} requests of {PASSAGES} passages", f"{at_end / 1e6:.0f} MB"],
            ["peak resident memory", f"{peak / 1e6:.0f} MB"],
        ],
        f"Passages are real ones of mixed lengths from {len(pairs)} pairs.",
    )
