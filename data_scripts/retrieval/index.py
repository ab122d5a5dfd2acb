"""The index step: BM25 and dense over a file of chunks, in one directory that says what it is of."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.retrieval.dense import DenseIndex, DenseOptions, build, chosen_kind, embed
from secateur.data_scripts.retrieval.lexical import Bm25Index
from secateur.data_scripts.retrieval.texts import Texts, shown_text
from secateur.labelled.embedder import load_embedder
from secateur.labelled.fingerprints import fingerprint
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_MANIFEST = "index.json"
_STATE = "state.json"  # what the shards of an unfinished index are of


@dataclass(frozen=True, slots=True)
class Index:
    """An index that can be searched.

    Attributes:
        texts: its chunks by row.
        bm25: None where it has none.
        dense: None where it has none.
    """

    texts: Texts
    bm25: Bm25Index | None
    dense: DenseIndex | None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def build_index(
    chunks: Path, out: Path, options: DenseOptions, *, bm25: bool = True, dense: bool = True, ray: bool = False
) -> dict[str, Any]:
    """Index chunks.

    A run that was killed goes on behind the last shard that it embedded. An index of other chunks or of another
    embedder is made anew.

    Args:
        chunks: JSON lines of `Chunk`.
        out: directory of the index.
        options: of the dense one.
        bm25: whether to make a BM25 index.
        dense: whether to make a dense one.
        ray: embed on a Ray cluster, whose workers must see ``out``.

    Returns:
        The manifest: what the index is of, as it stands in ``index.json``.

    Raises:
        InputError: neither index is wanted.
        DataError: chunks cannot be read, or the directory cannot be written.
        ModelError: the embedder cannot be loaded.
        MissingExtraError: a package is not installed.
    """
    if not bm25 and not dense:
        raise InputError("index", "neither BM25 nor dense is wanted", "ask for one of them")
    state: dict[str, Any] = {"chunks": fingerprint(chunks), "bm25": bm25, "dense": None}
    if dense:
        embedder = load_embedder(options.embedder, options.max_tokens)
        where = {"embedder": None if options.embedder is None else str(options.embedder.absolute())}
        state["dense"] = {**asdict(options), **where, "fingerprint": embedder.fingerprint}
    done = _read(out / _MANIFEST)
    if {key: done.get(key) for key in state} == state:
        log.info("%s is up to date", out)
        return done
    (out / _MANIFEST).unlink(missing_ok=True)
    if _read(out / _STATE) != state:
        if out.exists() and any(out.iterdir()) and not (out / _STATE).is_file():
            raise DataError(f"{out}: is neither empty nor an index; give another directory")
        shutil.rmtree(out, ignore_errors=True)
        Texts.write(chunks, out)
        write_atomically(out / _STATE, json.dumps(state) + "\n")
    texts = Texts(out)
    if bm25:
        Bm25Index.build(map(shown_text, texts), out)
    kind = None
    if dense:
        embed(texts, out, options, ray=ray)
        kind = chosen_kind(len(texts), options.kind)
        build(out, len(texts), kind)
    manifest = {**state, "rows": len(texts), "kind": kind}
    write_atomically(out / _MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def open_index(directory: Path) -> Index:
    """Open an index.

    Raises:
        DataError: it is none, is unfinished, or its embedder is not the one it was made with.
        ModelError: the embedder cannot be loaded.
        MissingExtraError: a package is not installed.
    """
    manifest = _read(directory / _MANIFEST)
    if not manifest:
        problem = "is unfinished" if (directory / _STATE).is_file() else "is no index"
        raise DataError(f"{directory}: {problem}; run `secateur data index`")
    dense = None
    if (stored := manifest["dense"]) is not None:
        embedder = None if stored["embedder"] is None else Path(stored["embedder"])
        options = DenseOptions(embedder, stored["max_tokens"], stored["shard"], stored["kind"])
        dense = DenseIndex(directory, options)
        if dense.embed.fingerprint != stored["fingerprint"]:
            raise DataError(f"{directory}: its embedder has changed since; run `secateur data index` again")
    return Index(Texts(directory), Bm25Index(directory) if manifest["bm25"] else None, dense)
