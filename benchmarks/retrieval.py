"""Indexing and retrieval at size: seconds, peak memory and recall, each step as the command that a user runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import BenchTable
from secateur.labelled.examples import Example
from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError, InputError, SecateurError

METHODS = ("bm25", "dense", "fused")
_DEPTH = 10
_SEED = 7


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How much is indexed and asked.

    Attributes:
        chunks: of the corpus.
        queries: at most; fewer where the data has fewer.

    Raises:
        InputError: one of them is less than 1.
    """

    chunks: int = 50_000
    queries: int = 1_000

    def __post_init__(self) -> None:
        for name in ("chunks", "queries"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}", f"{getattr(self, name)} is less than 1", "give at least 1")


@dataclass(frozen=True, slots=True)
class Workload:
    """A corpus and what is asked of it.

    Attributes:
        texts: all different; the passages of the queries are among them.
        queries: their texts.
        gold: for each query the rows of the passages that answer it.
    """

    texts: list[str]
    queries: list[str]
    gold: list[set[int]]


@dataclass(frozen=True, slots=True)
class Step:
    """What one command took: wall seconds, and the most bytes that it had resident."""

    seconds: float
    peak_bytes: int


def _varied(pool: list[str], rng: random.Random) -> str:
    """Return one text with about half of its words exchanged for those of another, by place."""
    words, others = rng.choice(pool).split(), rng.choice(pool).split()
    return " ".join(
        others[place] if place < len(others) and rng.random() < 0.5 else word for place, word in enumerate(words)
    )


def make_workload(data: Path, options: RetrievalOptions) -> Workload:
    """Draw queries evenly from all sources, and fill a corpus up; the same every time.

    The corpus is the queries' passages, then other passages of the data, then mixtures of two of them: as long as real
    texts and of their words, but no copies of a passage that answers a query.

    Args:
        data: labelled examples.
        options: how much.

    Raises:
        DataError: no query has a passage that answers it, or their passages are more than the chunks asked for.
    """
    rng = random.Random(_SEED)
    sources = labelled_sources(data)
    asked: list[Example] = []
    others: list[Example] = []
    passages: dict[str, None] = {}
    for source in sources:
        examples = list(source.read())
        passages |= dict.fromkeys(p.passage.text for e in examples for p in e.passages if p.passage.text.strip())
        answered = [e for e in examples if any(p.relevant and p.passage.text.strip() for p in e.passages)]
        rng.shuffle(answered)
        share = -(-options.queries // len(sources))
        asked += answered[:share]
        others += answered[share:]
    rng.shuffle(asked)
    rng.shuffle(others)  # for sources that have too few
    asked = (asked + others)[: options.queries]
    if not asked:
        raise DataError(f"{data}: no query has a passage that answers it; the benchmark has nothing to look for")
    texts = dict.fromkeys(p.passage.text for e in asked for p in e.passages if p.passage.text.strip())
    if len(texts) > options.chunks:
        raise DataError(
            f"{data}: the queries have {len(texts)} passages; give --chunks of at least that, or fewer queries"
        )
    pool = list(passages)
    for text in pool:
        if len(texts) < options.chunks:
            texts[text] = None
    misses = 0
    while len(texts) < options.chunks:
        before = len(texts)
        texts[_varied(pool, rng)] = None
        misses = 0 if len(texts) > before else misses + 1
        if misses > 1_000:
            raise DataError(f"{data}: only {before} different chunks come out of it; give more data, or fewer --chunks")
    rows = {text: row for row, text in enumerate(texts)}
    gold = [{rows[p.passage.text] for p in e.passages if p.relevant and p.passage.text.strip()} for e in asked]
    return Workload(list(texts), [e.query for e in asked], gold)


def run_step(*arguments: str) -> Step:
    """Run `secateur data` with arguments in a process of its own.

    Raises:
        SecateurError: it failed; the message is its last line.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "secateur.cli", "data", *arguments], stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise SecateurError(f"`secateur data {arguments[0]}` ended with code {process.returncode}: {lines[-1]}")
    return Step(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_recall(run: Path, gold: list[set[int]]) -> float:
    """Return the mean share of each query's gold rows in a TREC run, whose ids are rows.

    Args:
        run: the file; a query that is not in it found nothing.
        gold: by query.
    """
    found: dict[int, set[int]] = {}
    for line in run.read_text(encoding="utf-8").splitlines():
        query, _, row, *_ = line.split()
        found.setdefault(int(query), set()).add(int(row))
    return sum(len(rows & found.get(query, set())) / len(rows) for query, rows in enumerate(gold)) / len(gold)


def measure_retrieval(data: Path, options: RetrievalOptions | None = None) -> BenchTable:
    """Index a corpus, and retrieve for queries by each method.

    Args:
        data: labelled examples.
        options: how much.

    Raises:
        DataError: the data cannot be used.
        SecateurError: a step failed.
    """
    options = options or RetrievalOptions()
    work = make_workload(data, options)
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        folder = Path(name)
        chunks, queries, index = folder / "chunks.jsonl", folder / "queries.jsonl", folder / "index"
        documents = folder / "documents"
        rows = enumerate(work.texts)
        _write_lines(chunks, [{"id": str(row), "document_id": str(row), "text": text} for row, text in rows])
        _write_lines(queries, [{"id": str(row), "query": text} for row, text in enumerate(work.queries)])
        _write_lines(documents / "in.jsonl", [{"id": str(row), "text": text} for row, text in enumerate(work.texts)])
        ingesting = run_step("ingest", str(documents), "--out", str(folder / "documents.jsonl"))
        indexing = run_step("index", str(chunks), "--out", str(index))
        steps, recalls = dict[str, Step](), dict[str, float]()
        for method in METHODS:
            run = folder / f"{method}.trec"
            flags = ["--out", str(folder / "out.jsonl"), "--trec", str(run), "--k", str(_DEPTH), "--method", method]
            steps[method] = run_step("retrieve", str(queries), "--index", str(index), *flags)
            recalls[method] = run_recall(run, work.gold)
    table = [
        _row(f"ingest {len(work.texts)} documents", ingesting, len(work.texts), ""),
        _row(f"index {len(work.texts)} chunks", indexing, len(work.texts), ""),
    ]
    for method, step in steps.items():
        table.append(_row(f"retrieve by {method}", step, len(work.queries), f"{recalls[method]:.4f}"))
    total = ingesting.seconds + indexing.seconds + steps["fused"].seconds
    return BenchTable(
        ["step", "seconds", "a second", "peak memory", f"Recall@{_DEPTH}"],
        table,
        f"{len(work.queries)} queries; each step is a process of its own, loading of models included. A chunk is "
        f"ingested as a document of its own. Ingest, index and fused retrieval together: {total / 60:.1f} minutes.",
    )


def _row(name: str, step: Step, count: int, recall: str) -> list[str]:
    return [name, f"{step.seconds:.1f}", f"{count / step.seconds:.0f}", f"{step.peak_bytes / 2**20:.0f} MiB", recall]
