"""The index step: chunks, BM25 and dense in one directory, with a manifest of what they were made from."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.data_scripts.records import Chunk, parse_record, read_records
from secateur.data_scripts.retrieval.dense import DenseIndex, DenseOptions, build, chosen_kind, embed
from secateur.data_scripts.retrieval.ranking import Ranking, top
from secateur.data_scripts.validation import not_empty, unique_ids
from secateur.labelled.bm25 import bm25s_library, build_bm25, words
from secateur.labelled.embedder import load_embedder
from secateur.labelled.fingerprints import fingerprint
from secateur.labelled.json_files import read_json, write_json_lines
from secateur.labelled.text_files import parse_json
from secateur.models.errors import DataError, InputError
from secateur.models.files import atomic_path

log = logging.getLogger(__name__)

_CHUNKS = "chunks.jsonl"
_OFFSETS = "offsets.npy"
_BM25 = "bm25"
_MANIFEST = "index.json"
_STATE = "state.json"  # what the parts of an unfinished index were made from


class ChunkStore:
    """The chunks of an index directory, read by row from disk; `DataError` if there are none."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _CHUNKS
        try:
            self._offsets = np.load(directory / _OFFSETS, mmap_mode="r")
            self._file = self._path.open("rb")
        except OSError as error:
            raise DataError(f"{directory}: is not an index ({error}); make one with `secateur data index`") from error

    @staticmethod
    def write(source: Path, directory: Path) -> None:
        """Copy chunks into an index directory."""
        chunks = unique_ids(read_records(source, Chunk), source)
        write_json_lines(directory / _CHUNKS, not_empty(chunks, f"{source}: holds no chunk; there is nothing to index"))
        with (directory / _CHUNKS).open("rb") as lines:
            ends = np.cumsum([0, *map(len, lines)], dtype=np.int64)
        with atomic_path(directory / _OFFSETS) as path, path.open("wb") as file:
            np.save(file, ends[:-1])

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, row: int) -> Chunk:
        self._file.seek(int(self._offsets[row]))
        return parse_record(parse_json(self._file.readline().decode()), Chunk, f"{self._path}, chunk {row}")

    def texts(self) -> Iterator[str]:
        """Yield what retrieval reads of each chunk: its title and its text."""
        return (f"{one.title} {one.text}" if one.title else one.text for one in read_records(self._path, Chunk))


class Bm25Index:
    """The BM25 part of an index directory, memory-mapped; `DataError` if there is none."""

    def __init__(self, directory: Path) -> None:
        try:
            self._index = bm25s_library("data").BM25.load(str(directory / _BM25), mmap=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{directory}: has no BM25 index ({error}); index again without --only dense") from error

    @staticmethod
    def build(texts: Iterable[str], directory: Path) -> None:
        """Index texts in the order of their rows."""
        tokens = [words(text) for text in texts]
        if not any(tokens):
            raise DataError("no chunk has a word that BM25 can find it by; use --only dense")
        index = build_bm25(tokens, "data")
        try:
            shutil.rmtree(directory / _BM25, ignore_errors=True)
            index.save(str(directory / _BM25))
        except OSError as error:
            raise DataError(f"{directory}: cannot be written ({error})") from error

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return the best k rows of each query; rows that share no word with it are left out."""
        found = []
        for query in queries:
            known = [word for word in words(query) if word in self._index.vocab_dict]
            scores = np.asarray(self._index.get_scores(known) if known else [], dtype=np.float32)
            ranking = top(scores, k)
            found.append(ranking.first(int((ranking.scores > 0).sum())))
        return found


@dataclass(frozen=True, slots=True)
class Index:
    """An index that can be searched; a part that it lacks is None."""

    chunks: ChunkStore
    bm25: Bm25Index | None
    dense: DenseIndex | None


def stored_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one if there is none."""
    try:
        content = read_json(path)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}


def build_index(
    chunks: Path, out: Path, options: DenseOptions, *, bm25: bool = True, dense: bool = True, ray: bool = False
) -> dict[str, Any]:
    """Index chunks; an index that is up to date stays, and one of other chunks or another embedder is replaced.

    With ``ray``, chunks are embedded on a Ray cluster, whose workers must see ``out``.

    Returns:
        The manifest in ``index.json``: what the index was made from, its number of ``rows`` and ``kind``.

    Raises:
        InputError: Neither part is wanted.
        DataError: There is no chunk, or ``out`` holds other files.
    """
    if not bm25 and not dense:
        raise InputError("index", "has neither BM25 nor a dense part", "leave out at most one of them")
    state: dict[str, Any] = {"chunks": fingerprint(chunks), "bm25": bm25, "dense": None}
    if dense:
        embedder = load_embedder(options.embedder, options.max_tokens)
        where = {"embedder": None if options.embedder is None else str(options.embedder.absolute())}
        state["dense"] = {**asdict(options), **where, "fingerprint": embedder.fingerprint}
    done = stored_object(out / _MANIFEST)
    if {key: done.get(key) for key in state} == state:
        log.info("%s is up to date", out)
        return done
    (out / _MANIFEST).unlink(missing_ok=True)
    if stored_object(out / _STATE) != state:
        if out.exists() and any(out.iterdir()) and not (out / _STATE).is_file():
            raise DataError(f"{out}: is neither empty nor an index; give another directory")
        shutil.rmtree(out, ignore_errors=True)
        ChunkStore.write(chunks, out)
        write_json_lines(out / _STATE, [state])
    store, kind = ChunkStore(out), None
    if bm25:
        Bm25Index.build(store.texts(), out)
    if dense:
        embed(store.texts(), len(store), out, options, ray=ray)
        kind = chosen_kind(len(store), options.kind)
        build(out, len(store), kind)
    manifest = {**state, "rows": len(store), "kind": kind}
    write_json_lines(out / _MANIFEST, [manifest])
    return manifest


def open_index(directory: Path) -> Index:
    """Open an index; `DataError` for one that is none, is unfinished, or was made with another embedder."""
    manifest = stored_object(directory / _MANIFEST)
    if not manifest:
        problem = "is unfinished" if (directory / _STATE).is_file() else "is not an index"
        raise DataError(f"{directory}: {problem}; run `secateur data index`")
    dense = None
    if (made := manifest["dense"]) is not None:
        embedder = None if made["embedder"] is None else Path(made["embedder"])
        dense = DenseIndex(directory, DenseOptions(embedder, made["max_tokens"], made["shard"], made["kind"]))
        if dense.embed.fingerprint != made["fingerprint"]:
            raise DataError(f"{directory}: its embedder has changed since; run `secateur data index` again")
    return Index(ChunkStore(directory), Bm25Index(directory) if manifest["bm25"] else None, dense)
