"""Indexing and retrieval on a large corpus: seconds, peak memory and recall, each step as a user's command."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import last_line
from benchmarks.tables import BenchTable, check_positive
from secateur.eval.collections import read_run
from secateur.labelled.examples import Example
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError, SecateurError

METHODS = ("bm25", "dense", "fused")
_DEPTH = 10
_SEED = 7


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How much is indexed and retrieved.

    Attributes:
        chunks: Chunks of the corpus.
        queries: Maximum number of queries.
    """

    chunks: int = 50_000
    queries: int = 1_000

    def __post_init__(self) -> None:
        check_positive(self, "chunks", "queries")


@dataclass(frozen=True, slots=True)
class Workload:
    """A corpus and queries.

    Attributes:
        texts: Distinct texts, with the passages of the queries among them.
        queries: Texts of the queries.
        gold: Rows of the passages that answer each query.
    """

    texts: list[str]
    queries: list[str]
    gold: list[set[int]]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one command: wall seconds, and peak resident bytes."""

    seconds: float
    peak_bytes: int


def _texts(*examples: Example, relevant: bool = False) -> list[str]:
    """Return the texts of passages that are not blank, or of those of them that answer."""
    passages = (p for example in examples for p in example.passages if p.relevant or not relevant)
    return [p.passage.text for p in passages if p.passage.text.strip()]


def _varied(pool: list[str], rng: random.Random) -> str:
    """Return one text with about half of its words replaced by the words of another at the same place."""
    words, others = rng.choice(pool).split(), rng.choice(pool).split()
    return " ".join(
        others[place] if place < len(others) and rng.random() < 0.5 else word for place, word in enumerate(words)
    )


def make_workload(data: Path, options: RetrievalOptions) -> Workload:
    """Draw queries evenly from all sources, and fill a corpus up, the same every time.

    The corpus consists of the passages of the queries, then other passages of the data, then mixtures of two passages,
    which have the length and words of real texts but are no copies of an answering passage.

    Raises:
        DataError: No query has an answering passage, or the queries have more passages than the corpus has chunks.
    """
    rng = random.Random(_SEED)
    sources = labelled_sources(data)
    asked: list[Example] = []
    others: list[Example] = []
    passages: dict[str, None] = {}
    for source in sources:
        examples = list(source.read())
        passages |= dict.fromkeys(_texts(*examples))
        answered = [e for e in examples if _texts(e, relevant=True)]
        rng.shuffle(answered)
        share = -(-options.queries // len(sources))
        asked += answered[:share]
        others += answered[share:]
    rng.shuffle(asked)
    rng.shuffle(others)  # for sources that have too few
    asked = (asked + others)[: options.queries]
    if not asked:
        raise DataError(f"{data}: no query has a passage that answers it, so nothing can be retrieved")
    texts = dict.fromkeys(_texts(*asked))
    if len(texts) > options.chunks:
        raise DataError(
            f"{data}: the queries have {len(texts)} passages; give at least as many --chunks, or fewer --queries"
        )
    pool = list(passages)
    texts = dict.fromkeys([*texts, *(text for text in pool if text not in texts)][: options.chunks])
    misses = 0
    while len(texts) < options.chunks:
        before = len(texts)
        texts[_varied(pool, rng)] = None
        misses = 0 if len(texts) > before else misses + 1
        if misses > 1_000:
            raise DataError(f"{data}: yields only {before} distinct chunks; give more data, or fewer --chunks")
    rows = {text: row for row, text in enumerate(texts)}
    gold = [{rows[text] for text in _texts(e, relevant=True)} for e in asked]
    return Workload(list(texts), [e.query for e in asked], gold)


def run_command(*arguments: str) -> Cost:
    """Run `secateur data` with arguments in a process of its own.

    Raises:
        SecateurError: The command failed; the message has its last line.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "secateur", "data", *arguments], stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            said = last_line(errors)
            raise SecateurError(f"`secateur data {arguments[0]}` ended with code {process.returncode}: {said}")
    return Cost(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def run_recall(run: Path, gold: list[set[int]]) -> float:
    """Return the mean share of each query's gold rows that a TREC run has; its ids are rows."""
    found = {int(query): set(map(int, rows)) for query, rows in read_run(run).items()}
    return sum(len(rows & found.get(query, set())) / len(rows) for query, rows in enumerate(gold)) / len(gold)


def measure_retrieval(data: Path, options: RetrievalOptions) -> BenchTable:
    """Index a corpus, and retrieve for queries by each method.

    Raises:
        DataError: The data cannot be used.
        SecateurError: A command failed.
    """
    work = make_workload(data, options)
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        folder = Path(name)
        chunks, queries, index = folder / "chunks.jsonl", folder / "queries.jsonl", folder / "index"
        documents = folder / "documents"
        rows = enumerate(work.texts)
        write_json_lines(chunks, [{"id": str(row), "document_id": str(row), "text": text} for row, text in rows])
        write_json_lines(queries, [{"id": str(row), "query": text} for row, text in enumerate(work.queries)])
        write_json_lines(
            documents / "in.jsonl", [{"id": str(row), "text": text} for row, text in enumerate(work.texts)]
        )
        ingesting = run_command("ingest", str(documents), "--out", str(folder / "documents.jsonl"))
        indexing = run_command("index", str(chunks), "--out", str(index))
        costs, recalls = dict[str, Cost](), dict[str, float]()
        for method in METHODS:
            run = folder / f"{method}.trec"
            flags = ["--out", str(folder / "out.jsonl"), "--trec", str(run), "--k", str(_DEPTH), "--method", method]
            costs[method] = run_command("retrieve", str(queries), "--index", str(index), *flags)
            recalls[method] = run_recall(run, work.gold)
    table = [
        _row(f"ingest {len(work.texts)} documents", ingesting, len(work.texts), ""),
        _row(f"index {len(work.texts)} chunks", indexing, len(work.texts), ""),
    ]
    for method, cost in costs.items():
        table.append(_row(f"retrieve by {method}", cost, len(work.queries), f"{recalls[method]:.4f}"))
    total = ingesting.seconds + indexing.seconds + costs["fused"].seconds
    return BenchTable(
        ["step", "seconds", "a second", "peak memory", f"Recall@{_DEPTH}"],
        table,
        f"{len(work.queries)} queries; each step is a process of its own, which loads its models. A chunk is "
        f"ingested as a document of its own. Ingest, index and fused retrieval together: {total / 60:.1f} minutes.",
    )


def _row(name: str, cost: Cost, count: int, recall: str) -> list[str]:
    return [name, f"{cost.seconds:.1f}", f"{count / cost.seconds:.0f}", f"{cost.peak_bytes / 2**20:.0f} MiB", recall]
