"""`secateur prune-corpus` on a large corpus: passages a second, memory over the run, and resumption after kills."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import BenchTable, check_positive, shown_mb
from benchmarks.workload import mixed_requests
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import SecateurError

_SEED = 7
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class CorpusBenchOptions:
    """How much is pruned.

    Attributes:
        passages: Passages of the corpus, one per row.
        kills: Number of times that the second run is killed, at random moments.
    """

    passages: int = 20_000
    kills: int = 3

    def __post_init__(self) -> None:
        check_positive(self, "passages", "kills")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A process that has ended: its duration in seconds, and its resident bytes over time."""

    seconds: float
    memory: list[int]


def _run(corpus: Path, out: Path, kill_at: int | None = None) -> _Ended:
    """Prune a corpus in a process of its own.

    Args:
        corpus: Corpus to prune.
        out: Output file.
        kill_at: Number of rows after which the process is killed; None to let it finish.

    Raises:
        SecateurError: The process failed.
    """
    import psutil

    command = [sys.executable, "-m", "secateur", "prune-corpus", str(corpus), "--out", str(out)]
    journal = out.with_name(f"{out.name}.journal")
    memory: list[int] = []
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, cwd=corpus.parent, stdout=output, stderr=subprocess.STDOUT) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    memory.append(watched.memory_info().rss)
                except psutil.NoSuchProcess:
                    break
                if kill_at is not None and _lines(journal) > kill_at:
                    process.kill()
                time.sleep(_POLL_S)
        seconds = time.perf_counter() - started
        output.seek(0)
        said = output.read()
    if process.returncode and kill_at is None:
        raise SecateurError(f"`secateur prune-corpus` ended with code {process.returncode}: {said.strip()[-300:]}")
    return _Ended(seconds, memory)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _rows(data: Path, passages: int) -> Iterator[dict[str, str]]:
    """Yield real queries, each with one real passage of its own or of another query."""
    for request in mixed_requests(data, 10, -(-passages // 10)):
        for passage in request.passages:
            yield {"query": request.query, "passage": passage}


def _middle(values: list[int], start: float, end: float) -> float:
    """Return the median in MB of the part of a series from one share of it to another."""
    part = sorted(values[int(start * len(values)) : max(int(end * len(values)), int(start * len(values)) + 1)])
    return part[len(part) // 2] / 1e6


def measure_corpus(data: Path, options: CorpusBenchOptions) -> BenchTable:
    """Prune a corpus once without interruption, and once with kills.

    Raises:
        DataError: The data has too few passages.
        SecateurError: A run failed.
    """
    rng = random.Random(_SEED)
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        room = Path(name)
        corpus = room / "corpus.jsonl"
        rows = list(_rows(data, options.passages))[: options.passages]
        write_json_lines(corpus, rows)
        whole = _run(corpus, room / "whole.jsonl")
        kills = sorted(rng.sample(range(1, max(options.passages - 64, options.kills + 1)), options.kills))
        killed = [_run(corpus, room / "broken.jsonl", kill_at) for kill_at in kills]
        last = _run(corpus, room / "broken.jsonl")
        same = (room / "whole.jsonl").read_bytes() == (room / "broken.jsonl").read_bytes()
    seconds = sum(run.seconds for run in killed) + last.seconds
    parts = [f"{_middle(whole.memory, start, start + 0.1):,.0f} MB" for start in (0.1, 0.45, 0.9)]
    table = [
        [name, f"{spent:.0f}", f"{options.passages / spent:,.1f}", *cells, shown_mb(max(memory))]
        for name, spent, cells, memory in (
            ("without interruption", whole.seconds, parts, whole.memory),
            (
                f"killed {options.kills} times",
                seconds,
                [""] * 3,
                [one for run in [*killed, last] for one in run.memory],
            ),
        )
    ]
    header = ("run", "seconds", "passages a second", "memory at 10-20%", "at 45-55%", "at 90-100%", "peak")
    places = ", ".join(map(str, kills))
    note = (
        f"{options.passages:,} real passages, one per row, JSON lines in and out; a run is a process of its own, which "
        f"loads the model and checks all rows. Killed with SIGKILL after {places} rows and started again, it wrote "
        f"{'the same bytes' if same else 'OTHER BYTES'}."
    )
    return BenchTable(header, table, note)
