"""Baselines: word overlap (BM25, TF-IDF), similarity of embeddings, and rules that do not read the passage."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.eval.systems.base import SegmentedPassage, by_best_unit, weights_text
from secateur.labelled.bm25 import bm25s_library, build_bm25, words
from secateur.labelled.embedder import Embedder
from secateur.models.checkpoint import WEIGHTS
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


def _texts(passages: Sequence[SegmentedPassage]) -> list[str]:
    return [text for p in passages for text in (p.titled(p.passage.text), *p.titled_units)]


class Embedding:
    """Cosine of embeddings, as in extractive RECOMP (Xu et al. 2023).

    The model is of sentence-transformers; without a directory it is all-MiniLM-L6-v2.
    """

    name = "embedding"
    threshold: float | None = None

    def __init__(self, directory: str | None = None) -> None:
        self._embedder = Embedder(Path(directory) if directory else None)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        name = self._embedder.directory.name if directory else "all-MiniLM-L6-v2"
        self.about = {
            "what": "cosine of sentence embeddings",
            "weights": weights_text(name, self._embedder.directory / WEIGHTS),
            "backend": f"torch {self._embedder.precision}",
        }

    def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
        """Embed each text of a source once, since queries share passages."""
        self._vectors = {}
        self._embed([*queries, *(text for group in passages for text in _texts(group))])

    def _embed(self, texts: Sequence[str]) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self._embedder(missing), strict=True))

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units and whole passages by their cosine with the query."""
        self._embed([query, *_texts(passages)])

        def cosine(text: str) -> float:
            return float(self._vectors[query] @ self._vectors[text])

        return [
            PassageScores(cosine(p.titled(p.passage.text)), np.array([cosine(text) for text in p.titled_units]))
            for p in passages
        ]


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
