"""The topics of a document: which of its chunks to ask about, and by which words.

After Doc2Query++ (arXiv 2510.09557): queries without guidance repeat what a document says first; guided by its topics
they cover all of it. Topics here are clusters of the document's own chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from secateur.data_scripts.records import Chunk
from secateur.models.errors import MissingExtraError

_WORDS = 6


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a document: the chunk nearest to its centre, and the words that set it apart, best first."""

    chunk: Chunk
    words: tuple[str, ...]


def topics(chunks: Sequence[Chunk], count: int, seed: int = 13) -> list[Topic]:
    """Return a document's topics in the order of their chunks: k-means over the chunks' TF-IDF vectors.

    Args:
        chunks: Chunks of one document; at least one.
        count: Number of topics; fewer if there are fewer different chunks.
        seed: Seed of the clustering.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "data") from error
    vectoriser = TfidfVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d]\w{2,}\b", sublinear_tf=True)
    try:
        vectors = vectoriser.fit_transform([chunk.text for chunk in chunks]).toarray()
    except ValueError:  # nothing but stop words, or a script without spaces
        return [Topic(chunk, ()) for chunk in chunks[:count]]
    names = vectoriser.get_feature_names_out()
    clusters = KMeans(min(count, len(np.unique(vectors, axis=0))), n_init=4, random_state=seed).fit(vectors)
    nearest = clusters.transform(vectors).argmin(axis=0)  # of a cluster's centre, over all chunks
    found = {}
    for row, weights in zip(nearest.tolist(), clusters.cluster_centers_, strict=True):
        best = np.argsort(-weights, kind="stable")[:_WORDS]
        found[row] = Topic(chunks[row], tuple(str(names[word]) for word in best if weights[word] > 0))
    return [found[row] for row in sorted(found)]
