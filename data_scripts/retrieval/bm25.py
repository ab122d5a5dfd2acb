"""BM25 over the chunks of an index, by `bm25s`, memory-mapped."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from secateur.data_scripts.retrieval.ranking import Ranking, top
from secateur.labelled.bm25 import bm25s_library, build_bm25, words
from secateur.models.errors import DataError

_FOLDER = "bm25"


class Bm25Index:
    """The BM25 part of an index.

    Args:
        directory: Directory of the index.

    Raises:
        DataError: it holds no BM25 index.
        MissingExtraError: bm25s is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._index = bm25s_library("data").BM25.load(str(directory / _FOLDER), mmap=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{directory}: holds no BM25 index ({error}); leave out --dense-only") from error

    @staticmethod
    def build(texts: Iterable[str], directory: Path) -> None:
        """Index texts in the order of their rows.

        Raises:
            DataError: no text has a word, or the directory cannot be written.
            MissingExtraError: bm25s is not installed.
        """
        tokens = [words(text) for text in texts]
        if not any(tokens):
            raise DataError("no chunk has a word that BM25 can find it by; use --dense-only")
        index = build_bm25(tokens, "data")
        try:
            shutil.rmtree(directory / _FOLDER, ignore_errors=True)
            index.save(str(directory / _FOLDER))
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
