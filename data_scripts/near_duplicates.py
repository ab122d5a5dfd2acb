"""Texts that are nearly the same: MinHash signatures of their word shingles, looked up by locality-sensitive hashing.

Broder, "On the resemblance and containment of documents", 1997; the index is that of `datasketch`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from secateur.models.errors import InputError, MissingExtraError, shown

_PERMUTATIONS = 128
_SHINGLE = 3  # words
_BATCH = 8192  # shingles hashed at a time, which bounds the memory that a long document takes
_WORD = re.compile(r"\w+")
# Candidates are checked against the threshold afterwards, so the index had better find too many than too few.
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.1, 0.9


def normalised(text: str) -> str:
    """Return a text in lower case with single spaces: what makes two texts the same."""
    return " ".join(text.lower().split())


def digest(text: str) -> str:
    """Return a short name for a text, the same in every run."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def check_threshold(value: float, field: str = "--near-duplicates") -> None:
    """Check that a value can stand for a similarity.

    Raises:
        InputError: it lies outside 0 to 1.
    """
    if not 0.0 <= value <= 1.0:
        raise InputError(field, f"must lie in 0 to 1, not {shown(value)}", "give e.g. 0.9, or 0 to turn it off")


def _shingles(text: str) -> Iterator[bytes]:
    """Yield the runs of three words; of a shorter text, all of it."""
    words: list[str] = []
    whole = True
    for match in _WORD.finditer(text.lower()):
        words.append(match.group())
        if len(words) == _SHINGLE:
            yield " ".join(words).encode("utf-8", "surrogatepass")
            whole = False
            del words[0]
    if whole:
        yield (" ".join(words) or text.strip()).encode("utf-8", "surrogatepass")


class NearDuplicates:
    """An index of texts that is asked for those that nearly say the same.

    Args:
        threshold: estimated Jaccard similarity of the shingles from which two texts are near-duplicates, in (0, 1].

    Raises:
        MissingExtraError: `datasketch` is not installed.
    """

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise MissingExtraError("datasketch", "data") from error
        self._threshold = threshold
        self._empty = MinHash(_PERMUTATIONS, hashfunc=zlib.crc32)
        self._index = MinHashLSH(min(threshold, 0.99), _PERMUTATIONS, weights=(_FALSE_POSITIVES, _FALSE_NEGATIVES))
        self._signatures: list[Any] = []
        self._keys: list[str] = []

    def add(self, key: str, text: str, *, unless_found: bool = False) -> list[str]:
        """Add a text.

        Args:
            key: what it is called.
            text: any string.
            unless_found: leave it out when there is a near-duplicate already.

        Returns:
            The keys of its near-duplicates so far, in the order in which they were added.
        """
        signature = self._empty.copy()
        shingles = _shingles(text)
        while batch := list(islice(shingles, _BATCH)):
            signature.update_batch(batch)
        candidates = sorted(self._index.query(signature))
        found = [self._keys[n] for n in candidates if signature.jaccard(self._signatures[n]) >= self._threshold]
        if not (found and unless_found):
            self._index.insert(len(self._keys), signature)
            self._signatures.append(signature)
            self._keys.append(key)
        return found
