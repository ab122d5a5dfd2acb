"""Dense retrieval over the chunks of an index: embeddings in shards, and faiss."""

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
from secateur.data_scripts.validation import Checked, Count
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.embedder import load_embedder
from secateur.models.errors import DataError, MissingExtraError
from secateur.models.files import atomic_path

log = logging.getLogger(__name__)

Kind = Literal["flat", "hnsw", "ivf"]
_VECTORS = "vectors"
_PARTS = "faiss"
_FLAT_ROWS = 100_000  # an exact search is fast enough up to here
_HNSW_ROWS = 1_000_000  # a graph fits into memory up to here
_PART_ROWS = 1_000_000  # rows of one faiss file; several files are searched in turn
_LINKS = 32
_TRAINED_ON = 64  # vectors for each list of an IVF index
_PROBED = 32
_AHEAD = 4  # multiple of k that is taken from an approximate index


@dataclass(frozen=True, slots=True)
class DenseOptions(Checked):
    """How chunks are embedded and indexed.

    Attributes:
        embedder: Directory of a sentence-transformers model; all-MiniLM-L6-v2 if unset.
        max_tokens: Number of tokens that are read of a chunk; all-MiniLM-L6-v2 was trained with 128.
        shard: Number of chunks per file of embeddings; a killed run embeds at most this many again.
        kind: Kind of faiss index: ``flat`` (exact), ``hnsw`` (a graph) or ``ivf`` (lists on disk); if unset,
            chosen by size: flat up to 100,000 chunks, hnsw up to a million.
    """

    embedder: Path | None = None
    max_tokens: int | None = 128
    shard: Count = 4096
    kind: Kind | None = None


def chosen_kind(rows: int, wanted: Kind | None = None) -> Kind:
    """Return the kind of index for a number of chunks."""
    return wanted or ("flat" if rows <= _FLAT_ROWS else "hnsw" if rows <= _HNSW_ROWS else "ivf")


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", "data") from error
    return faiss


def _embed_shard(shard: tuple[int, list[str]], folder: Path, embedder: Path | None, max_tokens: int | None) -> int:
    """Embed the texts of a shard into its file, unless an earlier run has."""
    number, texts = shard
    path = folder / f"{number:06}.npy"
    if not path.is_file():
        vectors = load_embedder(embedder, max_tokens)(texts)
        with atomic_path(path) as partial_path, partial_path.open("wb") as file:
            np.save(file, vectors)
    return len(texts)


def embed(texts: Iterator[str], rows: int, directory: Path, options: DenseOptions, *, ray: bool = False) -> None:
    """Embed all texts in shards below the index's directory; those of an earlier run stay."""
    folder = directory.absolute() / _VECTORS
    work = partial(_embed_shard, folder=folder, embedder=options.embedder, max_tokens=options.max_tokens)
    done = 0
    for number in map_blocks(work, zip(count(), blocks(texts, options.shard), strict=False), ray=ray):
        done += number
        log.info("%d of %d chunks embedded", done, rows)


def _shards(directory: Path) -> list[NDArray[np.float32]]:
    return [np.load(path, mmap_mode="r") for path in sorted((directory / _VECTORS).glob("*.npy"))]


def build(directory: Path, rows: int, kind: Kind) -> None:
    """Put all embeddings into faiss indexes of about a million rows each."""
    faiss = _faiss()
    shards = _shards(directory)
    index: Any = None
    parts = 0
    for number, vectors in enumerate(shards, 1):
        if index is None:
            index = _empty(faiss, kind, min(rows, _PART_ROWS), shards)
        index.add(np.ascontiguousarray(vectors))
        if index.ntotal >= _PART_ROWS or number == len(shards):
            with atomic_path(directory / _PARTS / f"{parts:04}.faiss") as path:
                try:
                    faiss.write_index(index, str(path))
                except RuntimeError as error:
                    raise OSError(str(error)) from error
            parts, index = parts + 1, None


def _empty(faiss: Any, kind: Kind, rows: int, shards: Sequence[NDArray[np.float32]]) -> Any:
    """Return an index without rows, trained where its kind needs that."""
    dimensions = shards[0].shape[1]
    if kind == "flat":
        return faiss.IndexFlatIP(dimensions)
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dimensions, _LINKS, faiss.METRIC_INNER_PRODUCT)
    lists = max(1, min(int(4 * rows**0.5), rows // 40))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT)
    needed = -(-_TRAINED_ON * lists // len(shards[0]))  # shards
    index.train(np.concatenate(shards[:needed])[: _TRAINED_ON * lists])
    return index


class DenseIndex:
    """The dense part of an index directory, searched by cosine; the options are those that it was built with."""

    def __init__(self, directory: Path, options: DenseOptions) -> None:
        faiss = _faiss()
        paths = sorted((directory / _PARTS).glob("*.faiss"))
        if not paths:
            raise DataError(f"{directory}: has no dense index; index again without --only bm25")
        self._parts = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP) for path in paths]
        for part in self._parts:
            if hasattr(part, "nprobe"):
                part.nprobe = _PROBED
            if hasattr(part, "hnsw"):
                part.hnsw.efSearch = 4 * _LINKS
        self._shards = _shards(directory)
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self.embed = load_embedder(options.embedder, options.max_tokens)

    def vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return float32[rows, dimensions], the embeddings of chunks."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        return np.stack([self._shards[s][row - self._starts[s]] for s, row in zip(shards, rows, strict=True)])

    def search(self, queries: NDArray[np.float32], k: int) -> list[Ranking]:
        """Return the k nearest rows of each query, float32[queries, dimensions], each of length 1."""
        rows, scores, first = [], [], 0
        for part in self._parts:
            found_scores, found = part.search(np.ascontiguousarray(queries), min(_AHEAD * k, part.ntotal))
            rows.append(np.where(found < 0, -1, found + first))
            scores.append(found_scores)
            first += part.ntotal
        merged = zip(np.concatenate(rows, axis=1), np.concatenate(scores, axis=1), strict=True)
        return [ranked(r[r >= 0], s[r >= 0], k) for r, s in merged]
