"""Units that say what a more relevant passage already says."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable
from heapq import nsmallest

_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 3
_SHINGLE = 3  # words
_SIMILAR = 0.9  # Jaccard similarity
_MOST = 64  # units that are kept for each rare shingle, and that a text is compared with


class Duplicates:
    """Finds units whose text was seen before, exactly or nearly.

    Two texts are the same if their words are, whatever their case and punctuation. They are nearly the same if they
    have the same numbers and share 90% of their sequences of three words. A text of fewer than three words is no
    duplicate: it says something else in each place.
    """

    def __init__(self) -> None:
        self._exact: dict[tuple[str, ...], Hashable] = {}
        self._texts: list[tuple[Hashable, frozenset[str], Counter[str]]] = []
        self._rare: defaultdict[str, list[int]] = defaultdict(list)

    def find(self, text: str) -> Hashable | None:
        """Return the key of a text seen before that says the same, or None."""
        words = _words(text)
        if len(words) < _FEWEST_WORDS:
            return None
        if (key := self._exact.get(words)) is not None:
            return key
        shingles, numbers = _shingles(words), _numbers(words)
        shared = Counter(place for one in _signature(shingles) for place in self._rare.get(one, ()))
        for place in sorted(nsmallest(_MOST, shared, key=lambda place: (-shared[place], place))):
            key, others, their_numbers = self._texts[place]
            # Sets of other sizes are not compared, so that the time stays linear.
            if (
                min(len(shingles), len(others)) >= _SIMILAR * max(len(shingles), len(others))
                and numbers == their_numbers
                and len(shingles & others) >= _SIMILAR * len(shingles | others)
            ):
                return key
        return None

    def add(self, text: str, key: Hashable) -> None:
        """Remember a text by a key that is not None."""
        words = _words(text)
        if len(words) < _FEWEST_WORDS or words in self._exact:
            return
        self._exact[words] = key
        shingles = _shingles(words)
        for one in _signature(shingles):
            if len(self._rare[one]) < _MOST:
                self._rare[one].append(len(self._texts))
        self._texts.append((key, shingles, _numbers(words)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _numbers(words: tuple[str, ...]) -> Counter[str]:
    return Counter(word for word in words if any(map(str.isdigit, word)))


def _shingles(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(" ".join(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1))


def _signature(shingles: frozenset[str]) -> list[str]:
    """Return enough shingles, in an order common to all texts, for two similar texts to share one."""
    ordered = sorted(shingles, key=lambda shingle: (-len(shingle), shingle))  # long ones are rare
    return ordered[: len(ordered) - int(_SIMILAR * len(ordered) - 1e-9)]
