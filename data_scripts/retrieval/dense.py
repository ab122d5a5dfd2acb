"""Dense retrieval over an index's chunks: embeddings shard by shard, and faiss over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from secateur.data_scripts.retrieval.ranking import Ranking, ranked
from secateur.data_scripts.retrieval.texts import Texts, shown_text
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.embedder import load_embedder
from secateur.models.errors import DataError, InputError, MissingExtraError

log = logging.getLogger(__name__)

Kind = Literal["flat", "hnsw", "ivf"]
_VECTORS = "vectors"
_PARTS = "faiss"
_FLAT_ROWS = 100_000  # up to which comparing with all is fast enough, and exact
_HNSW_ROWS = 1_000_000  # up to which a graph fits into memory
_PART_ROWS = 1_000_000  # of one faiss file; more are searched one after the other
_LINKS = 32
_TRAINED_ON = 64  # vectors for each of an IVF's lists
_PROBED = 32
_AHEAD = 4  # times k: what is taken from an approximate index


@dataclass(frozen=True, slots=True)
class DenseOptions:
    """How chunks are embedded and indexed.

    Attributes:
        embedder: a sentence-transformers directory; None for all-MiniLM-L6-v2.
        max_tokens: that are read of a chunk; all-MiniLM-L6-v2 was trained with 128.
        shard: chunks embedded at a time: what a killed run does again at most.
        kind: of the index; None chooses by size: exact up to 100,000 chunks, a graph up to a million, then inverted
            lists, which stay on disk.

    Raises:
        InputError: one of them is wrong.
    """

    embedder: Path | None = None
    max_tokens: int | None = 128
    shard: int = 4096
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if self.shard < 1:
            raise InputError("shard", f"{self.shard!r} is less than 1", "give how many chunks to embed at a time")
        if self.kind not in (None, "flat", "hnsw", "ivf"):
            raise InputError("kind", f"{self.kind!r} is unknown", "give flat, hnsw, ivf or None")


def chosen_kind(rows: int, wanted: Kind | None = None) -> Kind:
    """Return the kind of index for so many chunks."""
    if wanted is not None:
        return wanted
    return "flat" if rows <= _FLAT_ROWS else "hnsw" if rows <= _HNSW_ROWS else "ivf"


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", "data") from error
    return faiss


def _shard_path(directory: Path, number: int) -> Path:
    return directory / _VECTORS / f"{number:06}.npy"


def _embed_shard(shard: tuple[int, list[str]], directory: Path, embedder: Path | None, max_tokens: int | None) -> int:
    """Embed the texts of a shard into its file; a shard that is there already was done before."""
    number, texts = shard
    path = _shard_path(directory, number)
    if not path.is_file():
        vectors = load_embedder(embedder, max_tokens)(texts)
        unfinished = path.with_suffix(".partial")
        try:
            with unfinished.open("wb") as file:
                np.save(file, vectors)
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot be written ({error})") from error
    return len(texts)


def embed(texts: Texts, directory: Path, options: DenseOptions, *, ray: bool = False) -> None:
    """Embed all chunks, a file a shard; shards that an earlier run wrote are left as they are.

    Raises:
        DataError: the directory cannot be written.
        ModelError: the embedder cannot be loaded.
        MissingExtraError: sentence-transformers is not installed.
    """
    (directory / _VECTORS).mkdir(exist_ok=True)
    work = partial(
        _embed_shard, directory=directory.absolute(), embedder=options.embedder, max_tokens=options.max_tokens
    )
    shards = zip(count(), blocks(map(shown_text, texts), options.shard), strict=False)
    done = 0
    for number in map_blocks(work, shards, ray=ray):
        done += number
        log.info("%d of %d chunks embedded", done, len(texts))


def _vectors(directory: Path) -> Iterator[NDArray[np.float32]]:
    for path in sorted((directory / _VECTORS).glob("*.npy")):
        yield np.load(path, mmap_mode="r")


def build(directory: Path, rows: int, kind: Kind) -> None:
    """Put all embeddings into faiss indexes of at most a million rows each.

    Raises:
        DataError: the directory cannot be written.
        MissingExtraError: faiss is not installed.
    """
    faiss = _faiss()
    (directory / _PARTS).mkdir(exist_ok=True)
    index: Any = None
    number = held = 0
    for vectors in _vectors(directory):
        if index is None:
            index = _empty(faiss, kind, min(rows, _PART_ROWS), vectors.shape[1], directory)
        index.add(np.ascontiguousarray(vectors))
        held += len(vectors)
        if held >= _PART_ROWS:
            _save(faiss, index, directory / _PARTS / f"{number:04}.faiss")
            number, held, index = number + 1, 0, None
    if index is not None:
        _save(faiss, index, directory / _PARTS / f"{number:04}.faiss")


def _empty(faiss: Any, kind: Kind, rows: int, dimensions: int, directory: Path) -> Any:
    if kind == "flat":
        return faiss.IndexFlatIP(dimensions)
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dimensions, _LINKS, faiss.METRIC_INNER_PRODUCT)
    lists = max(1, min(int(4 * rows**0.5), rows // 40))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT)
    sample: list[NDArray[np.float32]] = []
    for vectors in _vectors(directory):
        sample.append(vectors)
        if sum(map(len, sample)) >= _TRAINED_ON * lists:
            break
    index.train(np.concatenate(sample)[: _TRAINED_ON * lists])
    return index


def _save(faiss: Any, index: Any, path: Path) -> None:
    unfinished = path.with_suffix(".partial")
    try:
        faiss.write_index(index, str(unfinished))
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error})") from error


class DenseIndex:
    """Search by cosine.

    Args:
        directory: of the index.
        options: as it was built.

    Raises:
        DataError: it holds no dense index.
        ModelError: the embedder cannot be loaded.
        MissingExtraError: faiss or sentence-transformers is not installed.
    """

    def __init__(self, directory: Path, options: DenseOptions) -> None:
        faiss = _faiss()
        paths = sorted((directory / _PARTS).glob("*.faiss"))
        if not paths:
            raise DataError(f"{directory}: holds no dense index; leave out --bm25-only")
        self._parts = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP) for path in paths]
        for part in self._parts:
            if hasattr(part, "nprobe"):
                part.nprobe = _PROBED
            if hasattr(part, "hnsw"):
                part.hnsw.efSearch = 4 * _LINKS
        self._shards = [np.load(path, mmap_mode="r") for path in sorted((directory / _VECTORS).glob("*.npy"))]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self.embed = load_embedder(options.embedder, options.max_tokens)

    def vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return float32[rows, dimensions], the embeddings of chunks."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        return np.stack([self._shards[s][row - self._starts[s]] for s, row in zip(shards, rows, strict=True)])

    def search(self, queries: NDArray[np.float32], k: int) -> list[Ranking]:
        """Return each query's nearest rows.

        Args:
            queries: float32[queries, dimensions], of length 1.
            k: rows for each.
        """
        rows, scores, first = [], [], 0
        for part in self._parts:
            found_scores, found = part.search(np.ascontiguousarray(queries), min(_AHEAD * k, part.ntotal))
            rows.append(np.where(found < 0, -1, found + first))
            scores.append(found_scores)
            first += part.ntotal
        every, values = np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)
        return [ranked(r[r >= 0], s[r >= 0], k) for r, s in zip(every, values, strict=True)]


def rocchio(
    query: NDArray[np.float32], found: NDArray[np.float32], alpha: float = 0.6, beta: float = 0.4
) -> NDArray[np.float32]:
    """Move a query towards what it found: alpha * query + beta * mean of the passages, of length 1.

    Dense pseudo-relevance feedback (Li et al., TOIS 2023, arXiv 2108.11044, section 3.2, "vector-based Rocchio").

    Args:
        query: float32[dimensions].
        found: float32[passages, dimensions], of the first passages; at least one.
        alpha: weight of the query.
        beta: weight of the passages.
    """
    moved = alpha * query + beta * found.mean(axis=0)
    length = max(float(np.linalg.norm(moved)), 1e-12)
    return np.asarray(moved / length, dtype=np.float32)
