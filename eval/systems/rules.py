"""Baselines without a model: word overlap (BM25, TF-IDF), and rules that do not read the passage."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from secateur.eval.systems.base import SegmentedPassage, by_best_unit
from secateur.labelled.bm25 import bm25s_library, build_bm25, words
from secateur.models.errors import MissingExtraError
from secateur.models.merging import PassageScores

_WORD = re.compile(r"\w+")


class Bm25:
    """BM25 over the units of a query's passages.

    A score is divided by the sum of the inverse document frequencies of the query's terms, so that one threshold
    compares scores of different queries.
    """

    name = "bm25"
    threshold: float | None = None

    def __init__(self) -> None:
        self.about = {"what": "word overlap, BM25", "backend": f"bm25s {bm25s_library('eval').__version__}"}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by the words that they share with the query."""
        documents = [words(text, all_words=True) for p in passages for text in p.titled_units]
        count, sets = len(documents), [set(document) for document in documents]
        frequency = {term: sum(term in one for one in sets) for term in sorted(set(words(query, all_words=True)))}
        known = [term for term, found in frequency.items() if found]
        scores = np.zeros(count)
        if known:
            rarity = sum(np.log(1 + (count - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in known)
            scores = np.asarray(build_bm25(documents, "eval").get_scores(known), dtype=np.float64) / float(rarity)
        return by_best_unit(scores, passages)


class TfIdf:
    """Cosine of TF-IDF vectors of query and unit, by scikit-learn: the coarse sentence filter of DSPC (2024)."""

    name = "tfidf"
    threshold: float | None = None

    def __init__(self) -> None:
        try:
            import sklearn
            from sklearn.feature_extraction.text import TfidfVectorizer
        except ImportError as error:
            raise MissingExtraError("scikit-learn", "eval") from error
        self._vectorizer = TfidfVectorizer
        self.about = {"what": "word overlap, TF-IDF", "backend": f"scikit-learn {sklearn.__version__}"}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by the weighted words that they share with the query."""
        texts = [text for p in passages for text in p.titled_units]
        if not any(_WORD.search(text) for text in texts):
            return by_best_unit(np.zeros(len(texts)), passages)
        vectorizer = self._vectorizer(lowercase=True, token_pattern=_WORD.pattern, sublinear_tf=True)
        cosines = vectorizer.fit_transform(texts) @ vectorizer.transform([query]).T
        return by_best_unit(np.asarray(cosines.todense(), dtype=np.float64).ravel(), passages)


@dataclass(slots=True)
class Rule:
    """A baseline that scores each passage by a rule."""

    name: str
    about: dict[str, str]
    rule: Callable[[str, SegmentedPassage], PassageScores]
    threshold: float | None = None

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Apply the rule to each passage."""
        return [self.rule(query, p) for p in passages]


def _random(query: str, p: SegmentedPassage) -> PassageScores:
    """Draw scores from [0, 1) that are the same for the same query and text."""
    rng = np.random.default_rng(zlib.crc32(f"{query}\x00{p.passage.text}".encode("utf-8", "surrogatepass")))
    return PassageScores(float(rng.random()), rng.random(len(p.units)))


FULL = Rule("full", {"what": "everything kept"}, lambda _, p: PassageScores(math.nan, np.ones(len(p.units))), 0.0)
"""Keeps everything, and does not rank."""
LEAD = Rule(
    "lead",
    {"what": "the first units of each passage"},
    lambda _, p: PassageScores(math.nan, 1.0 / (1 + np.arange(len(p.units)))),
)
"""Keeps the first units, more of them as the threshold falls, and does not rank."""
RANDOM = Rule("random", {"what": "random units"}, _random)
