"""A document's topics: which of its chunks to ask about, and by which words, so that queries spread over all of it.

After Doc2Query++ (arXiv 2510.09557): queries drawn without guidance crowd on what a document says first and repeat each
other; guided by its topics they cover it. Topics here are clusters of the document's own chunks.
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
    """A topic of a document.

    Attributes:
        chunk: the one that stands for it: the nearest to the middle of its cluster.
        words: that tell it from the others, the most telling first; none for a text without words.
    """

    chunk: Chunk
    words: tuple[str, ...]


def topics(chunks: Sequence[Chunk], count: int, seed: int = 13) -> list[Topic]:
    """Return a document's topics: k-means over the TF-IDF vectors of its chunks.

    Args:
        chunks: of one document, at least one.
        count: of topics; as many as chunks where there are fewer.
        seed: of the clustering.

    Returns:
        Topics in the order of their chunks.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "data") from error

    vectoriser = TfidfVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d]\w{2,}\b", sublinear_tf=True)
    try:
        vectors = vectoriser.fit_transform([chunk.text for chunk in chunks]).toarray()
    except ValueError:  # nothing but stop words, or text in a script without spaces
        return [Topic(chunk, ()) for chunk in chunks[:count]]
    names = vectoriser.get_feature_names_out()
    count = min(count, len(np.unique(vectors, axis=0)))
    clusters = KMeans(count, n_init=4, random_state=seed).fit(vectors)
    distances = clusters.transform(vectors)
    found = []
    for cluster in range(count):
        members = np.flatnonzero(clusters.labels_ == cluster)
        row = int(members[np.argmin(distances[members, cluster])])
        weights = clusters.cluster_centers_[cluster]
        telling = [int(word) for word in np.argsort(-weights, kind="stable")[:_WORDS] if weights[word] > 0]
        found.append((row, Topic(chunks[row], tuple(str(names[word]) for word in telling))))
    return [topic for _, topic in sorted(found, key=lambda item: item[0])]
