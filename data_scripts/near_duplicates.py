"""Near-duplicate texts: MinHash signatures of word shingles in an index for locality-sensitive hashing.

Broder, "On the resemblance and containment of documents", 1997; the index is that of `datasketch`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from secateur.data_scripts.validation import Share, check
from secateur.models.errors import MissingExtraError

_PERMUTATIONS = 128
_SHINGLE = 3  # words
_BATCH = 8192  # shingles hashed at once; bounds the memory of a long document
_WORD = re.compile(r"\w+")
# Candidates are checked against the threshold afterwards, so extra ones cost only time and missing ones are errors.
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.1, 0.9


def normalised(text: str) -> str:
    """Return a text in lower case with single spaces; texts are equal if their normalised forms are."""
    return " ".join(text.lower().split())


def digest(text: str) -> str:
    """Return a short, reproducible identifier of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _shingles(text: str) -> Iterator[bytes]:
    """Yield each run of three words, or the whole text if it has fewer."""
    words: deque[str] = deque(maxlen=_SHINGLE)
    for match in _WORD.finditer(text.lower()):
        words.append(match[0])
        if len(words) == _SHINGLE:
            yield " ".join(words).encode("utf-8", "surrogatepass")
    if len(words) < _SHINGLE:
        yield (" ".join(words) or text.strip()).encode("utf-8", "surrogatepass")


class NearDuplicates:
    """An index that finds the near-duplicates of a text among the texts added before.

    Args:
        threshold: Lowest estimated Jaccard similarity of the shingles of two near-duplicates, in (0, 1].
    """

    def __init__(self, threshold: float) -> None:
        check("near_duplicates", threshold, Share)
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise MissingExtraError("datasketch", "data") from error
        self._threshold = threshold
        self._empty = MinHash(_PERMUTATIONS, hashfunc=zlib.crc32)
        self._index = MinHashLSH(min(threshold, 0.99), _PERMUTATIONS, weights=(_FALSE_POSITIVES, _FALSE_NEGATIVES))
        self._entries: list[tuple[str, Any]] = []

    def add(self, key: str, text: str, *, unless_found: bool = False) -> list[str]:
        """Add a text, or not if it has a near-duplicate and ``unless_found`` is set.

        Returns:
            The keys of its near-duplicates, in the order in which they were added.
        """
        signature = self._empty.copy()
        shingles = _shingles(text)
        while batch := list(islice(shingles, _BATCH)):
            signature.update_batch(batch)
        candidates = [self._entries[number] for number in sorted(self._index.query(signature))]
        found = [other for other, candidate in candidates if signature.jaccard(candidate) >= self._threshold]
        if not (found and unless_found):
            self._index.insert(len(self._entries), signature)
            self._entries.append((key, signature))
        return found
