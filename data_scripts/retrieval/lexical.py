"""BM25 over an index's chunks, by `bm25s`: saved, and read memory-mapped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.data_scripts.retrieval.ranking import Ranking, top
from secateur.models.errors import DataError, MissingExtraError

_WORD = re.compile(r"\w+")
_FOLDER = "bm25"
# So common that they only cost time; longer lists cost recall on questions.
_STOP = re.compile(r"a|an|and|are|as|at|be|by|for|from|in|is|it|of|on|or|that|the|this|to|was|were|with")


def words(text: str) -> list[str]:
    """Return a text's words, folded to lower case, without the commonest."""
    return [word for word in _WORD.findall(text.lower()) if not _STOP.fullmatch(word)]


def _bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("bm25s", "data") from error
    return bm25s


class Bm25Index:
    """BM25 in Lucene's variant (Robertson and Zaragoza 2009; k1 = 1.5, b = 0.75).

    Args:
        directory: of the index.

    Raises:
        DataError: it holds no BM25 index.
        MissingExtraError: bm25s is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._index = _bm25s().BM25.load(str(directory / _FOLDER), mmap=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{directory}: holds no BM25 index ({error}); leave out --dense-only") from error
        self._known = self._index.vocab_dict

    @staticmethod
    def build(texts: Iterable[str], directory: Path) -> None:
        """Index texts, in the order of their rows.

        Raises:
            DataError: no text has a word, or the directory cannot be written.
            MissingExtraError: bm25s is not installed.
        """
        bm25s = _bm25s()
        tokens = [words(text) for text in texts]
        if not any(tokens):
            raise DataError("no chunk has a word that BM25 can find it by; use --dense-only")
        index = bm25s.BM25(method="lucene")
        index.index(tokens, show_progress=False)
        partial = directory / f"{_FOLDER}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            index.save(str(partial))
            shutil.rmtree(directory / _FOLDER, ignore_errors=True)
            partial.replace(directory / _FOLDER)
        except OSError as error:
            raise DataError(f"{directory}: cannot be written ({error})") from error

    def search(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return each query's best rows; those that share no word with it are not among them."""
        found = []
        for query in queries:
            known = [word for word in words(query) if word in self._known]
            if known:
                ranking = top(np.asarray(self._index.get_scores(known), dtype=np.float32), k)
                found.append(ranking.positive())
            else:
                found.append(Ranking.nothing())
        return found
