"""The retrieve step: queries in, the best passages of each out, with a TREC run beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.data_scripts.records import Candidate, Candidates, Query, read_records
from secateur.data_scripts.retrieval.dense import rocchio
from secateur.data_scripts.retrieval.index import Index, open_index
from secateur.data_scripts.retrieval.ranking import Ranking, fuse
from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically

Method = Literal["fused", "bm25", "dense"]

_BLOCK = 256  # queries at a time


@dataclass(frozen=True, slots=True)
class RetrieveOptions:
    """How passages are found.

    Attributes:
        k: passages of a query.
        method: ``bm25``, ``dense``, or ``fused`` by reciprocal ranks.
        depth: ranks of each ranking that are fused.
        constant: of the fusion; see `fuse`. The paper has 60; with 10 both recall and MRR are better on the questions
            and paragraphs of SQuAD.
        feedback: dense passages that a query is moved towards before it is searched again; 0 for none.
        alpha: weight of the query in that; see `rocchio`.
        beta: weight of the passages.

    Raises:
        InputError: one of them is wrong.
    """

    k: int = 20
    method: Method = "fused"
    depth: int = 100
    constant: float = 10.0
    feedback: int = 0
    alpha: float = 0.6
    beta: float = 0.4

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("depth", 1), ("feedback", 0)):
            if getattr(self, name) < least:
                raise InputError(name, f"{getattr(self, name)!r} is less than {least}", f"give {least} or more")
        if self.method not in ("fused", "bm25", "dense"):
            raise InputError("method", f"{self.method!r} is unknown", "give fused, bm25 or dense")
        if self.feedback and self.method == "bm25":
            raise InputError(
                "feedback", "moves dense queries, and BM25 has none", "give dense or fused, or no feedback"
            )


def search(index: Index, queries: Sequence[str], options: RetrieveOptions) -> list[Ranking]:
    """Return each query's best rows.

    Raises:
        DataError: the index lacks what the method needs.
    """
    wanted = {"bm25", "dense"} if options.method == "fused" else {options.method}
    depth = max(options.k, options.depth) if len(wanted) > 1 else options.k
    rankings: list[list[Ranking]] = []
    if "bm25" in wanted:
        if index.bm25 is None:
            raise DataError("method: the index has no BM25 part; ask for dense, or index again without --dense-only")
        rankings.append(index.bm25.search(queries, depth))
    if "dense" in wanted:
        if index.dense is None:
            raise DataError("method: the index has no dense part; ask for bm25, or index again without --bm25-only")
        vectors = index.dense.embed(queries)
        found = index.dense.search(vectors, max(depth, options.feedback))
        if options.feedback:
            for row, ranking in enumerate(found):
                first = index.dense.vectors(ranking.rows[: options.feedback].tolist())
                vectors[row] = rocchio(vectors[row], first, options.alpha, options.beta)
            found = index.dense.search(vectors, depth)
        rankings.append(found)
    if len(rankings) == 1:
        return [Ranking(one.rows[: options.k], one.scores[: options.k]) for one in rankings[0]]
    return [fuse(pair, options.k, options.constant) for pair in zip(*rankings, strict=True)]


def _candidates(index: Index, query: Query, ranking: Ranking) -> Candidates:
    passages = []
    for rank, (row, score) in enumerate(zip(ranking.rows.tolist(), ranking.scores.tolist(), strict=True), 1):
        chunk = index.texts[row]
        passages.append(Candidate(chunk.id, chunk.text, chunk.title, chunk.document_id, rank, round(score, 6)))
    return Candidates(query.id, query.query, tuple(passages), query.chunk_id, query.answers)


def _asked(queries: Path) -> Iterator[Query]:
    seen: set[str] = set()
    for query in read_records(queries, Query):
        if not query.query.strip():
            raise DataError(f"{queries}: query {query.id!r} is blank; fill or remove it")
        if query.id in seen:
            raise DataError(f"{queries}: the id {query.id!r} stands twice; give each query its own")
        seen.add(query.id)
        yield query


def _run_lines(candidates: Candidates, tag: str) -> str:
    def word(text: str) -> str:
        return "_".join(text.split()) or "_"  # the format parts its columns by white space

    return "".join(
        f"{word(candidates.id)} Q0 {word(one.id)} {one.rank} {one.score:.6f} {tag}\n" for one in candidates.passages
    )


def retrieve(queries: Path, directory: Path, out: Path, options: RetrieveOptions, run: Path | None = None) -> int:
    """Retrieve passages.

    Args:
        queries: JSON lines of `Query`.
        directory: of the index.
        out: JSON lines of `Candidates`, in the queries' order.
        options: how.
        run: a TREC run file to write beside it.

    Returns:
        The number of queries.

    Raises:
        DataError: a file cannot be read or written, the index lacks what the method needs, or no query finds anything.
    """
    index = open_index(directory)
    lines: list[str] = []
    found = False

    def every() -> Iterator[Candidates]:
        nonlocal found
        for block in blocks(_asked(queries), _BLOCK):
            for query, ranking in zip(block, search(index, [q.query for q in block], options), strict=True):
                candidates = _candidates(index, query, ranking)
                found = found or bool(candidates.passages)
                if run is not None:
                    lines.append(_run_lines(candidates, options.method))
                yield candidates
        if not found:
            raise DataError(
                f"{queries}: no query finds a passage in {directory}; are these queries and chunks of one language and "
                "collection?"
            )

    written = write_json_lines(out, every())
    if run is not None:
        write_atomically(run, "".join(lines))
    return written
