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


@dataclass(slots=True)
class Baseline:
    """A system that is a function of the query and its passages."""

    name: str
    about: dict[str, str]
    score: Callable[[str, Sequence[SegmentedPassage]], list[PassageScores]]
    threshold: float | None = None

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Apply the function."""
        return self.score(query, passages)


def _bm25(query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    documents = [words(text, all_words=True) for p in passages for text in p.titled_units]
    count, sets = len(documents), [set(document) for document in documents]
    frequency = {term: sum(term in one for one in sets) for term in sorted(set(words(query, all_words=True)))}
    known = [term for term, found in frequency.items() if found]
    scores = np.zeros(count)
    if known:
        rarity = sum(np.log(1 + (count - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in known)
        scores = np.asarray(build_bm25(documents, "eval").get_scores(known), dtype=np.float64) / float(rarity)
    return by_best_unit(scores, passages)


def bm25() -> Baseline:
    """Return BM25 over the units of a query's passages.

    A score is divided by the sum of the inverse document frequencies of the query's terms, so that one threshold
    compares scores of different queries.
    """
    backend = f"bm25s {bm25s_library('eval').__version__}"
    return Baseline("bm25", {"what": "word overlap, BM25", "backend": backend}, _bm25)


def tfidf() -> Baseline:
    """Return the cosine of TF-IDF vectors of query and unit: the coarse sentence filter of DSPC (2024)."""
    try:
        import sklearn
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "eval") from error

    def score(query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        texts = [text for p in passages for text in p.titled_units]
        if not any(_WORD.search(text) for text in texts):
            return by_best_unit(np.zeros(len(texts)), passages)
        vectorizer = TfidfVectorizer(lowercase=True, token_pattern=_WORD.pattern, sublinear_tf=True)
        cosines = vectorizer.fit_transform(texts) @ vectorizer.transform([query]).T
        return by_best_unit(np.asarray(cosines.todense(), dtype=np.float64).ravel(), passages)

    about = {"what": "word overlap, TF-IDF", "backend": f"scikit-learn {sklearn.__version__}"}
    return Baseline("tfidf", about, score)


def _full(query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    return [PassageScores(math.nan, np.ones(len(p.units))) for p in passages]


def _lead(query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    return [PassageScores(math.nan, 1.0 / (1 + np.arange(len(p.units)))) for p in passages]


def _random(query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    """Draw scores from [0, 1) that are the same for the same query and text."""
    found = []
    for p in passages:
        rng = np.random.default_rng(zlib.crc32(f"{query}\x00{p.passage.text}".encode("utf-8", "surrogatepass")))
        found.append(PassageScores(float(rng.random()), rng.random(len(p.units))))
    return found


FULL = Baseline("full", {"what": "everything kept"}, _full, threshold=0.0)
LEAD = Baseline("lead", {"what": "the first units of each passage"}, _lead)
RANDOM = Baseline("random", {"what": "random units"}, _random)


def _texts(passages: Sequence[SegmentedPassage]) -> list[str]:
    return [text for p in passages for text in (p.titled(p.text), *p.titled_units)]


class Embedding:
    """Cosine of embeddings, by default of all-MiniLM-L6-v2, as in extractive RECOMP (Xu et al. 2023)."""

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
            PassageScores(cosine(p.titled(p.text)), np.array([cosine(text) for text in p.titled_units]))
            for p in passages
        ]
