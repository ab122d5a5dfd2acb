"""Baselines that count words: BM25 and TF-IDF over units."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.units import FloatArray
from secateur.labelled.bm25 import bm25s_library, build_bm25, words
from secateur.models.errors import MissingExtraError
from secateur.models.merging import PassageScores

_WORD = re.compile(r"\w+")


def _by_passage(scores: FloatArray, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    """Cut the scores of all units into passages; a passage is as relevant as its best unit."""
    ends = np.cumsum([len(p.units) for p in passages])[:-1]
    return [PassageScores(float(part.max(initial=0.0)), part) for part in np.split(scores, ends)]


class Bm25:
    """BM25 over the units of a query's passages.

    A score is divided by the sum of the query terms' inverse document frequencies, so that scores of different queries
    can be compared by one threshold.
    """

    name = "bm25"
    threshold: float | None = None

    def __init__(self) -> None:
        self.about = {"library": f"bm25s {bm25s_library('eval').__version__}"}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by the words that they share with the query."""
        documents = [words(text, all_words=True) for p in passages for text in p.titled_units]
        terms = sorted(set(words(query, all_words=True)))
        frequency = {term: sum(term in document for document in map(set, documents)) for term in terms}
        known = [term for term in terms if frequency[term]]
        scores = np.zeros(len(documents))
        if known:
            index = build_bm25(documents, "eval")
            scores = np.asarray(index.get_scores(known), dtype=np.float64)
            count = len(documents)
            rarity = [np.log(1 + (count - frequency[t] + 0.5) / (frequency[t] + 0.5)) for t in known]
            scores = scores / float(sum(rarity))
        return _by_passage(scores, passages)


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
        self.about = {"library": f"scikit-learn {sklearn.__version__}"}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by the weighted words that they share with the query."""
        texts = [text for p in passages for text in p.titled_units]
        if not any(_WORD.search(text) for text in texts):
            return _by_passage(np.zeros(len(texts)), passages)
        vectorizer = self._vectorizer(lowercase=True, token_pattern=_WORD.pattern, sublinear_tf=True)
        vectors = vectorizer.fit_transform(texts)
        cosines = vectors @ vectorizer.transform([query]).T
        return _by_passage(np.asarray(cosines.todense(), dtype=np.float64).ravel(), passages)
