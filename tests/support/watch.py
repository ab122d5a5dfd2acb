"""Watches a server from a process of its own, so that the load of the attacking one is not measured.

Asks ``/health/live`` over and over, each time on a new connection, and reads the server's memory. Ends when something
is written to its standard input, and prints what it saw as JSON. Arguments: URL, process id.
"""

from __future__ import annotations

import json
import select
import sys
import time
import urllib.request

import psutil

PAUSE_S = 0.05
TIMEOUT_S = 120.0


def main() -> None:
    url, pid = sys.argv[1], int(sys.argv[2])
    process = psutil.Process(pid)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    before = peak = process.memory_info().rss
    longest, probes = 0.0, 0
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    while not probes or not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        started = time.monotonic()
        with opener.open(f"{url}/health/live", timeout=TIMEOUT_S) as answer:
            answer.read()
        longest = max(longest, time.monotonic() - started)
        probes += 1
        peak = max(peak, process.memory_info().rss)
    sys.stdout.write(json.dumps({"longest_s": longest, "grown_bytes": peak - before, "probes": probes}))


if __name__ == "__main__":
    main()
