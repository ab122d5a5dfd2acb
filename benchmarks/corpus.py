"""`secateur prune-corpus` at size: passages a second, memory over the run, and kills (`secateur bench corpus`)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import BenchTable
from benchmarks.workload import mixed_requests
from secateur.models.errors import InputError, SecateurError

_SEED = 7
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class CorpusBenchOptions:
    """How much is pruned.

    Attributes:
        passages: of the corpus, one a row.
        kills: of the second run, at random moments.
    """

    passages: int = 20_000
    kills: int = 3

    def __post_init__(self) -> None:
        if min(self.passages, self.kills) < 1:
            raise InputError("--passages", "passages and kills must be positive", "give 1 or more")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A process that ran until its end, or was killed.

    Attributes:
        seconds: that it ran.
        memory: bytes resident at each look.
        output: that it wrote.
    """

    seconds: float
    memory: list[int]
    output: str


def _run(corpus: Path, out: Path, kill_at: int | None = None) -> _Ended:
    """Prune a corpus in a process of its own.

    Args:
        corpus: to prune.
        out: where to.
        kill_at: rows after which it is killed, if it is to be.

    Raises:
        SecateurError: it failed.
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
    return _Ended(seconds, memory, said)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _rows(data: Path, passages: int) -> Iterator[dict[str, str]]:
    """Yield real queries, each with one real passage of its own or of another query."""
    for request in mixed_requests(data, 10, -(-passages // 10)):
        for passage in request.passages:
            yield {"query": request.query, "passage": passage}


def _middle(values: list[int], start: float, end: float) -> float:
    """Return the median of a part of a series, from one share of it to another."""
    part = sorted(values[int(start * len(values)) : max(int(end * len(values)), int(start * len(values)) + 1)])
    return part[len(part) // 2] / 1e6


def measure_corpus(data: Path, options: CorpusBenchOptions | None = None) -> BenchTable:
    """Prune a corpus once without a break, and once with kills.

    Args:
        data: labelled examples to take queries and passages from.
        options: how much.

    Raises:
        DataError: there are too few passages.
        SecateurError: a run failed.
    """
    options = options or CorpusBenchOptions()
    rng = random.Random(_SEED)
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        room = Path(name)
        corpus = room / "corpus.jsonl"
        rows = list(_rows(data, options.passages))[: options.passages]
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        whole = _run(corpus, room / "whole.jsonl")
        kills = sorted(rng.sample(range(1, max(options.passages - 64, options.kills + 1)), options.kills))
        killed = [_run(corpus, room / "broken.jsonl", kill_at) for kill_at in kills]
        last = _run(corpus, room / "broken.jsonl")
        same = (room / "whole.jsonl").read_bytes() == (room / "broken.jsonl").read_bytes()
    seconds = sum(run.seconds for run in killed) + last.seconds
    rate = f"{options.passages / whole.seconds:,.1f}"
    parts = [f"{_middle(whole.memory, start, start + 0.1):,.0f} MB" for start in (0.1, 0.45, 0.9)]
    table = [
        ["without a break", f"{whole.seconds:.0f}", rate, *parts, f"{max(whole.memory) / 1e6:,.0f} MB"],
        [
            f"killed {options.kills} times",
            f"{seconds:.0f}",
            f"{options.passages / seconds:,.1f}",
            "",
            "",
            "",
            f"{max(byte for run in [*killed, last] for byte in run.memory) / 1e6:,.0f} MB",
        ],
    ]
    header = ("run", "seconds", "passages a second", "memory at 10-20%", "at 45-55%", "at 90-100%", "peak")
    places = ", ".join(map(str, kills))
    note = (
        f"{options.passages:,} real passages, one a row, JSON lines in and out; a run is a process of its own, "
        f"with the loading of the model and the look at all rows. Killed by SIGKILL after {places} rows and run again, "
        f"it wrote {'the same bytes' if same else 'OTHER BYTES'}."
    )
    return BenchTable(header, table, note)
