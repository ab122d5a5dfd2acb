"""What each option of the data steps brings on labelled data: `python -m benchmarks.data_options --data DIR`."""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval import RetrievalOptions, Workload, make_workload
from benchmarks.tables import BenchTable, write_bench
from secateur.data_scripts.labels.selecting import uncertainty, vote_k
from secateur.data_scripts.queries.topics import topics
from secateur.data_scripts.records import Candidate, Candidates, Chunk, Pair
from secateur.data_scripts.retrieval.dense import DenseOptions
from secateur.data_scripts.retrieval.index import Index, build_index, open_index
from secateur.data_scripts.retrieval.negatives import PairOptions, chosen
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions, search
from secateur.data_scripts.teacher import sorting
from secateur.data_scripts.teacher.model import load_teacher
from secateur.data_scripts.teacher.verdicts import rank_logits, share_logits
from secateur.labelled.json_files import write_json_lines
from secateur.models.pruner import Pruner

_SEED = 7
_DEPTH = 10
_JUDGED = 30  # passages of a query that teachers order
_MARGINS = (1.0, 2.0, 4.0)
_TOPICS = 4
_RETRIEVAL = {
    "bm25": RetrieveOptions(method="bm25"),
    "dense": RetrieveOptions(method="dense"),
    "fused, constant 10 (default)": RetrieveOptions(),
    "fused, constant 60": RetrieveOptions(constant=60.0),
    "dense, feedback 1": RetrieveOptions(method="dense", feedback=1),
    "dense, feedback 3": RetrieveOptions(method="dense", feedback=3),
    "fused, feedback 1": RetrieveOptions(feedback=1),
    "fused, feedback 3": RetrieveOptions(feedback=3),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        step: Step of the pipeline.
        option: What was chosen.
        values: Measures by name; ``requests`` is the number of requests to a language model for each query.
    """

    step: str
    option: str
    values: dict[str, float]

    def cells(self) -> list[str]:
        """Return the line as text."""
        return [self.step, self.option, "; ".join(f"{name} {value:.3f}" for name, value in self.values.items())]


def ranking_quality(rankings: Sequence[Sequence[int]], gold: Sequence[set[int]]) -> dict[str, float]:
    """Return recall and MRR of the first 10 ranks, means over queries.

    Args:
        rankings: Rows of each query, best first.
        gold: Rows that answer each query; none of the sets is empty.
    """
    recalls, reciprocals = [], []
    for rows, right in zip(rankings, gold, strict=True):
        first = list(rows[:_DEPTH])
        recalls.append(len(right & set(first)) / len(right))
        reciprocals.append(next((1 / rank for rank, row in enumerate(first, 1) if row in right), 0.0))
    return {f"recall@{_DEPTH}": float(np.mean(recalls)), f"MRR@{_DEPTH}": float(np.mean(reciprocals))}


def _rows_of(index: Index, work: Workload, options: RetrieveOptions) -> list[list[int]]:
    return [ranking.rows.tolist() for ranking in search(index, work.queries, options)]


def measure_retrieval(index: Index, work: Workload) -> list[Row]:
    """Measure each way to retrieve."""
    return [
        Row("retrieve", name, ranking_quality(_rows_of(index, work, options), work.gold))
        for name, options in _RETRIEVAL.items()
    ]


def candidates_of(index: Index, work: Workload) -> list[Candidates]:
    """Return the fused candidates of each query, scored by the shipped model."""
    rankings = search(index, work.queries, RetrieveOptions(k=_JUDGED))
    found = [
        Candidates(
            str(number),
            work.queries[number],
            tuple(Candidate(str(row), work.texts[row], rank=r) for r, row in enumerate(ranking.rows.tolist(), 1)),
        )
        for number, ranking in enumerate(rankings)
    ]
    scores = load_teacher(Pruner.load().directory or "", 512, 32)(found)
    return [
        replace(
            one,
            passages=tuple(replace(p, teacher_score=score) for p, score in zip(one.passages, row, strict=True)),
        )
        for one, row in zip(found, scores, strict=True)
    ]


class Judge:
    """Compares passages by the logits of a pointwise teacher, in place of a language model.

    Args:
        logits: Logits of one query's passages.
        noise: None for the higher logit, else a generator: passage a then beats b with the probability
            sigmoid(a - b), as in the model of Bradley and Terry.
    """

    def __init__(self, logits: Sequence[float], noise: random.Random | None) -> None:
        self._logits = logits
        self._noise = noise
        self._known: dict[tuple[int, int], float] = {}
        self.requests = 0

    async def compare(self, a: int, b: int) -> float:
        """Return 1 where a is preferred, 0 where b is, 0.5 where two requests contradict each other."""
        if (a, b) not in self._known:
            self.requests += 2
            share = 1 / (1 + math.exp(self._logits[b] - self._logits[a]))
            if self._noise is None:
                won = 0.5 + ((share > 0.5) - (share < 0.5)) / 2
            else:
                won = sum(self._noise.random() < share for _ in range(2)) / 2
            self._known[a, b], self._known[b, a] = won, 1 - won
        return self._known[a, b]

    async def rank(self, rows: Sequence[int]) -> list[int]:
        """Return rows, best first; with noise by logits to which Gumbel noise is added (Plackett and Luce)."""
        self.requests += 1
        noise = {r: 0.0 if self._noise is None else -math.log(-math.log(self._noise.random())) for r in rows}
        return sorted(rows, key=lambda row: -(self._logits[row] + noise[row]))


async def _all_pairs(count: int, judge: Judge) -> list[float]:
    return share_logits(await sorting.all_pairs(count, judge.compare), count - 1)


async def _heapsort(count: int, judge: Judge) -> list[float]:
    return rank_logits(await sorting.heapsort(count, judge.compare))


async def _sliding(count: int, judge: Judge) -> list[float]:
    return rank_logits(await sorting.sliding(count, judge.compare, _DEPTH))


async def _windows(count: int, judge: Judge) -> list[float]:
    return rank_logits(await sorting.windows(count, judge.rank, 20, 10))


_SORTINGS: dict[str, Callable[[int, Judge], Coroutine[Any, Any, list[float]]]] = {
    "pairwise, allpair": _all_pairs,
    "pairwise, heapsort": _heapsort,
    "pairwise, sliding, 10 passes": _sliding,
    "listwise, window 20, step 10": _windows,
}


def measure_teachers(found: Sequence[Candidates], gold: Sequence[set[int]]) -> list[Row]:
    """Measure the agreement of each teacher's order with gold labels."""

    def quality(scores: Sequence[Sequence[float]]) -> dict[str, float]:
        orders = [np.argsort(-np.asarray(one), kind="stable") for one in scores]
        ids = [[int(p.id) for p in one.passages] for one in found]
        return ranking_quality([[row[i] for i in order] for row, order in zip(ids, orders, strict=True)], gold)

    logits = [[p.teacher_score or 0.0 for p in one.passages] for one in found]
    rows = [
        Row("teach", "none: the retriever's order", quality([[-float(p.rank) for p in one.passages] for one in found])),
        Row("teach", "pointwise (default)", {**quality(logits), "requests": float(np.mean([len(r) for r in logits]))}),
    ]
    for noisy in (False, True):
        for name, sort in _SORTINGS.items():
            judges = [Judge(row, random.Random(f"{_SEED} {n}") if noisy else None) for n, row in enumerate(logits)]
            scores = [asyncio.run(sort(len(row), judge)) for row, judge in zip(logits, judges, strict=True)]
            requests = float(np.mean([judge.requests for judge in judges]))
            rows.append(Row("teach", f"{name}{', noisy' * noisy}", {**quality(scores), "requests": requests}))
    return rows


def measure_margins(found: Sequence[Candidates], gold: Sequence[set[int]]) -> list[Row]:
    """Measure how many of the drawn hard negatives are passages that answer."""
    rows = []
    for margin in (None, *_MARGINS):
        options = PairOptions(margin=margin)
        drawn = false = 0
        for one, right in zip(found, gold, strict=True):
            negatives = [p for p in chosen(one, options) if p.rank > options.top]
            drawn += len(negatives)
            false += sum(int(p.id) in right for p in negatives)
        values = {"negatives per query": drawn / len(found), "that answer": false / max(drawn, 1)}
        rows.append(Row("pairs", "no margin (default)" if margin is None else f"margin {margin:g}", values))
    return rows


def coverage(vectors: NDArray[np.float32], rows: Sequence[int]) -> float:
    """Return the mean cosine of each vector to the nearest of the chosen ones."""
    return float((vectors @ vectors[list(rows)].T).max(axis=1).mean())


def measure_selection(found: Sequence[Candidates], gold: Sequence[set[int]], index: Index, count: int) -> list[Row]:
    """Measure how well chosen pairs cover all pairs, and how many of them the shipped model gets wrong."""
    assert index.dense is not None
    pairs = [Pair(f"{q.id}/{p.id}", q.query, p.text) for q in found for p in q.passages[:_DEPTH]]
    answers = [int(p.id) in right for q, right in zip(found, gold, strict=True) for p in q.passages[:_DEPTH]]
    judged = [(p.teacher_score or 0.0) > 0 for q in found for p in q.passages[:_DEPTH]]
    vectors = index.dense.embed([f"{pair.query} {pair.passage}" for pair in pairs])
    unsure = uncertainty(Pruner.load(), pairs)
    orders = {
        "random": random.Random(_SEED).sample(range(len(pairs)), count),
        "diverse (vote-k)": vote_k(vectors, count),
        "uncertain": sorted(range(len(pairs)), key=lambda row: -unsure[row])[:count],
    }
    return [
        Row(
            "select",
            f"{name}, {count} of {len(pairs)} pairs",
            {
                "coverage": coverage(vectors, rows),
                "that answer": float(np.mean([answers[row] for row in rows])),
                "judged wrongly": float(np.mean([answers[row] != judged[row] for row in rows])),
            },
        )
        for name, rows in orders.items()
    ]


def measure_topics(found: Sequence[Candidates], index: Index) -> list[Row]:
    """Measure how well a document's topics cover it; a document is here the passages that a query finds."""
    assert index.dense is not None
    ways: dict[str, list[float]] = {"first chunks": [], "random chunks": [], f"topics {_TOPICS} (default)": []}
    for one in found[:100]:
        if len(one.passages) <= _TOPICS:
            continue
        places = {p.id: place for place, p in enumerate(one.passages)}
        vectors = index.dense.vectors([int(p.id) for p in one.passages])
        themes = topics([Chunk(p.id, one.id, p.text) for p in one.passages], _TOPICS)
        draw = random.Random(f"{_SEED} {one.id}").sample(range(len(places)), _TOPICS)
        picked = (list(range(_TOPICS)), draw, [places[theme.chunk.id] for theme in themes])
        for name, rows in zip(ways, picked, strict=True):
            ways[name].append(coverage(vectors, rows))
    return [Row("queries", name, {"coverage": float(np.mean(values))}) for name, values in ways.items()]


def measure_data_options(data: Path, queries: int, chunks: int, count: int) -> BenchTable:
    """Measure the options of the data steps.

    Args:
        data: Labelled examples.
        queries: Number of queries.
        chunks: Chunks of the corpus.
        count: Pairs to select.

    Raises:
        DataError: The data cannot be used.
    """
    started = time.perf_counter()
    work = make_workload(data, RetrievalOptions(chunks=chunks, queries=queries))
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        path = Path(name)
        write_json_lines(path / "chunks.jsonl", (Chunk(str(n), str(n), text) for n, text in enumerate(work.texts)))
        build_index(path / "chunks.jsonl", path / "index", DenseOptions())
        index = open_index(path / "index")
        rows = measure_retrieval(index, work)
        found = candidates_of(index, work)
        rows += measure_teachers(found, work.gold)
        rows += measure_margins(found, work.gold)
        rows += measure_topics(found, index)
        rows += measure_selection(found, work.gold, index, count)
    note = (
        f"{len(work.queries)} queries over {len(work.texts)} chunks of {data.name}, all sources evenly. Teachers order "
        f"the first {_JUDGED} fused passages; the shipped model replaces the language model, `noisy` with random "
        "errors by Bradley and Terry or Plackett and Luce, and `requests` are those that a language model would get "
        "for a query. Coverage is the mean cosine of all chunks or pairs to the nearest chosen one; a document of the "
        "topics is the passages of one query; `judged wrongly` compares the shipped model's relevance with gold. "
        f"{(time.perf_counter() - started) / 60:.1f} minutes."
    )
    return BenchTable(["step", "option", "result"], [row.cells() for row in rows], note)


def main() -> None:
    """Measure and print the table, and with `--update` put it into a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of labelled examples")
    parser.add_argument("--queries", type=int, default=300, help="number of queries (default: 300)")
    parser.add_argument("--chunks", type=int, default=6000, help="chunks of the corpus (default: 6000)")
    parser.add_argument("--count", type=int, default=500, help="pairs to select (default: 500)")
    parser.add_argument("--update", type=Path, help="document with a block bench-data-options to rewrite")
    arguments = parser.parse_args()
    table = measure_data_options(arguments.data, arguments.queries, arguments.chunks, arguments.count)
    print(write_bench("bench-data-options", table, arguments.update))  # noqa: T201


if __name__ == "__main__":
    main()
