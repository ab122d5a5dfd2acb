"""BM25 (Robertson and Zaragoza 2009) in Lucene's variant, with `bm25s`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from secateur.models.errors import MissingExtraError

_WORD = re.compile(r"\w+")
# Words too common to matter. Longer lists would cost recall on questions.
_STOP = re.compile(r"a|an|and|are|as|at|be|by|for|from|in|is|it|of|on|or|that|the|this|to|was|were|with")


def words(text: str, *, all_words: bool = False) -> list[str]:
    """Return a text's words in lower case; unless ``all_words``, without the most frequent English words."""
    return [word for word in _WORD.findall(text.lower()) if all_words or not _STOP.fullmatch(word)]


def bm25s_library(extra: str) -> Any:
    """Return the module `bm25s`, or raise a MissingExtraError of the extra that installs it."""
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("bm25s", extra) from error
    return bm25s


def build_bm25(documents: Iterable[list[str]], extra: str) -> Any:
    """Return a `bm25s.BM25` of documents, given as lists of words that are not all empty; see `bm25s_library`."""
    index = bm25s_library(extra).BM25(k1=1.2, b=0.75, method="lucene")
    index.index(list(documents), show_progress=False)
    return index
