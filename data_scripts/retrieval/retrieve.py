"""The retrieve step: queries in, the best passages of each out, with a TREC run beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from secateur.data_scripts.records import Candidate, Candidates, Query, read_records
from secateur.data_scripts.retrieval.index import Index, open_index
from secateur.data_scripts.retrieval.ranking import Ranking, fuse, rocchio
from secateur.data_scripts.validation import Checked, Count, unique_ids
from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically

Method = Literal["fused", "bm25", "dense"]

_BLOCK = 256  # queries at a time


@dataclass(frozen=True, slots=True)
class RetrieveOptions(Checked):
    """How passages are found.

    Attributes:
        k: Number of passages per query.
        method: ``bm25``, ``dense``, or ``fused`` by reciprocal ranks.
        depth: Number of ranks of each ranking that are fused.
        constant: Constant of the fusion; the paper's 60 shows lower recall and MRR.
        feedback: Number of first dense passages that a query is moved towards before a second search (Rocchio),
            without a measured gain; 0 for none.
        alpha: Weight of the query in the feedback.
        beta: Weight of the passages in the feedback.
    """

    k: Count = 20
    method: Method = "fused"
    depth: Count = 100
    constant: float = 10.0
    feedback: Annotated[int, Field(ge=0)] = 0
    alpha: float = 0.6
    beta: float = 0.4

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.feedback and self.method == "bm25":
            raise InputError("feedback", f"is {self.feedback}, but bm25 has no vectors", "use dense or fused")


def search(index: Index, queries: Sequence[str], options: RetrieveOptions) -> list[Ranking]:
    """Return the best rows of each query; `DataError` for a method whose part the index lacks."""
    depth = max(options.k, options.depth) if options.method == "fused" else options.k
    rankings: list[list[Ranking]] = []
    if options.method != "dense":
        if index.bm25 is None:
            raise DataError("method: the index has no BM25 part; use dense, or index again without --only dense")
        rankings.append(index.bm25.search(queries, depth))
    if options.method != "bm25":
        if index.dense is None:
            raise DataError("method: the index has no dense part; use bm25, or index again without --only bm25")
        vectors = index.dense.embed(queries)
        found = index.dense.search(vectors, max(depth, options.feedback))
        if options.feedback:
            for row, ranking in enumerate(found):
                first = index.dense.vectors(ranking.rows[: options.feedback].tolist())
                vectors[row] = rocchio(vectors[row], first, options.alpha, options.beta)
            found = index.dense.search(vectors, depth)
        rankings.append(found)
    if len(rankings) == 1:
        return [one.first(options.k) for one in rankings[0]]
    return [fuse(pair, options.k, options.constant) for pair in zip(*rankings, strict=True)]


def _candidates(index: Index, query: Query, ranking: Ranking) -> Candidates:
    passages = []
    for rank, (row, score) in enumerate(zip(ranking.rows.tolist(), ranking.scores.tolist(), strict=True), 1):
        chunk = index.chunks[row]
        passages.append(
            Candidate(chunk.id, chunk.text, chunk.title, chunk.document_id, rank, round(score, 6), format=chunk.format)
        )
    return Candidates(query.id, query.query, tuple(passages), query.chunk_id, query.answers)


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"  # white space separates the columns of a TREC run


def retrieve(queries: Path, directory: Path, out: Path, options: RetrieveOptions, run: Path | None = None) -> int:
    """Retrieve passages from an index for a file of `Query` records; return the number of queries.

    ``out`` gets `Candidates` records in the queries' order, and ``run`` the same as a TREC run. If no query finds a
    passage, that is a `DataError`.
    """
    index = open_index(directory)
    lines: list[str] = []

    def rows() -> Iterator[Candidates]:
        for block in blocks(unique_ids(read_records(queries, Query), queries), _BLOCK):
            for query in block:
                if not query.query.strip():
                    raise DataError(f"{queries}: query {query.id!r} is blank; fill or remove it")
            for query, ranking in zip(block, search(index, [q.query for q in block], options), strict=True):
                found = _candidates(index, query, ranking)
                start = f"{_word(found.id)} Q0"
                lines.extend(f"{start} {_word(p.id)} {p.rank} {p.score:.6f} {options.method}\n" for p in found.passages)
                yield found
        if not lines:
            raise DataError(f"{queries}: no query finds a passage in {directory}; are both in the same language?")

    written = write_json_lines(out, rows())
    if run is not None:
        write_atomically(run, "".join(lines))
    return written
