"""Training pairs: drawn from labelled examples, cut, encoded, labelled token by token."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.examples import Example, LabelledPassage, data_files, read_examples, source_name
from secateur.models.segmentation import segment
from secateur.models.splitters import Splitter
from secateur.models.types import Unit
from secateur.training.config import DataConfig

IGNORED = -100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One encoded training pair.

    Attributes:
        input_ids: int32[tokens].
        labels: int16[tokens], 1 keep, 0 drop, -100 on query, title and special tokens.
        units: int16[tokens], each labelled token's unit, counted from the window's first; 0 elsewhere.
        passage_start: position where the passage's token type begins.
        relevant: whether the window holds an answer.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int16]
    units: NDArray[np.int16]
    passage_start: int
    relevant: bool


def read_sources(config: DataConfig) -> dict[str, list[Example]]:
    """Read the training examples by source.

    Raises:
        DataError: nothing is left to train on.
    """
    sources: dict[str, list[Example]] = {}
    for path in data_files(config.train):
        name = source_name(path)
        if name not in config.exclude:
            examples = [example for example in read_examples(path) if example.passages and example.query.strip()]
            if examples:
                sources[name] = examples
    if not sources:
        raise DataError(f"{config.train}: no labelled example to train on")
    return sources


def draw_counts(sizes: dict[str, int], total: int, exponent: float) -> dict[str, int]:
    """Share ``total`` draws among sources in proportion to size to the power of ``exponent``."""
    weights = {name: size**exponent for name, size in sizes.items()}
    scale = total / sum(weights.values())
    return {name: max(1, round(weight * scale)) for name, weight in weights.items()}


def _cycle(examples: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield examples in random order, each once before any comes twice."""
    while True:
        yield from rng.sample(examples, len(examples))


def draw_pairs(
    sources: dict[str, list[Example]], config: DataConfig, rng: random.Random
) -> list[tuple[str, LabelledPassage]]:
    """Draw (query, passage) pairs: for each drawn query a positive, hard negatives, and some random negatives."""
    counts = draw_counts({k: len(v) for k, v in sources.items()}, config.pairs, config.mix_exponent)
    pairs: list[tuple[str, LabelledPassage]] = []
    for name, wanted in counts.items():
        examples = sources[name]
        stream = _cycle(examples, rng)
        drawn: list[tuple[str, LabelledPassage]] = []
        random_negatives = 0
        while len(drawn) < wanted:
            example = next(stream)
            positives = [p for p in example.passages if p.relevant]
            negatives = [p for p in example.passages if not p.relevant]
            chosen = [rng.choice(positives)] if positives else []
            chosen += rng.sample(negatives, min(len(negatives), config.hard_negatives))
            drawn += [(example.query, passage) for passage in chosen]
            if random_negatives < config.random_negative_share * len(drawn):
                other = rng.choice(examples)
                if other.query != example.query:
                    foreign = replace(rng.choice(other.passages), spans=(), relevant=False)
                    # A passage that this query has too may answer it; leave it out.
                    if all(foreign.passage.text != p.passage.text for p in example.passages):
                        drawn.append((example.query, foreign))
                        random_negatives += 1
        pairs += drawn[:wanted]
    rng.shuffle(pairs)
    return pairs


def recut(units: Sequence[Unit], labels: Sequence[bool], rng: random.Random) -> range:
    """Return a random run of units (indices) that holds every relevant one."""
    relevant = [i for i, label in enumerate(labels) if label]
    if relevant:
        return range(rng.randint(0, relevant[0]), rng.randint(relevant[-1], len(units) - 1) + 1)
    start = rng.randrange(len(units))
    return range(start, rng.randint(start, len(units) - 1) + 1)


class PairBuilder:
    """Encodes and labels drawn pairs.

    Args:
        encoder: with the window used in training.
        splitter: sentence splitter.
        config: shares of re-cut passages and of titles.
        rng: the source of every random choice.
    """

    def __init__(self, encoder: PairEncoder, splitter: Splitter, config: DataConfig, rng: random.Random) -> None:
        self._encoder = encoder
        self._splitter = splitter
        self._config = config
        self._rng = rng

    def build(self, query: str, labelled: LabelledPassage) -> Pair | None:
        """Encode one pair; None when nothing is to be learned from it (no text, or labels that match no unit)."""
        passage = labelled.passage
        units = segment(passage.text, splitter=self._splitter)
        if not units:
            return None
        labels = labelled.unit_labels(units)
        if labelled.relevant and not any(labels):
            return None
        if self._rng.random() < self._config.recut_share:
            run = recut(units, labels, self._rng)
            start, end = units[run.start].start, units[run.stop - 1].end
            passage = replace(passage, text=passage.text[start:end])
            labels = [labels[i] for i in run]
            units = [replace(units[i], start=units[i].start - start, end=units[i].end - start) for i in run]
        if self._rng.random() >= self._config.title_share:
            passage = replace(passage, title=None)
        query_ids, _ = self._encoder.encode_query(query, truncate=True)
        windows = self._encoder.encode(query_ids, [passage], [units])[0].windows
        unit_labels = np.asarray(labels, dtype=np.int16)
        holding = [w for w in windows if unit_labels[w.token_unit].any()] if any(labels) else list(windows)
        if not holding:
            return None
        window = self._rng.choice(holding)
        token_labels = np.full(len(window), IGNORED, dtype=np.int16)
        text = slice(window.text_start, window.text_start + len(window.token_unit))
        text_labels = unit_labels[window.token_unit]
        token_labels[text] = text_labels
        token_units = np.zeros(len(window), dtype=np.int16)
        token_units[text] = window.token_unit - window.token_unit[:1]
        return Pair(window.ids, token_labels, token_units, window.passage_start, bool(text_labels.any()))


def build_pairs(
    config: DataConfig, encoder: PairEncoder, splitter: Splitter, seed: int
) -> tuple[list[Pair], dict[str, int]]:
    """Read, draw, encode and label all pairs of a run.

    Args:
        config: what to draw.
        encoder: with the window used in training.
        splitter: sentence splitter.
        seed: the same seed gives the same pairs in the same order.

    Returns:
        The pairs, and the number of queries of each source that they were drawn from.
    """
    rng = random.Random(seed)
    sources = read_sources(config)
    builder = PairBuilder(encoder, splitter, config, rng)
    drawn = draw_pairs(sources, config, rng)
    pairs = [pair for query, passage in drawn if (pair := builder.build(query, passage)) is not None]
    if not pairs:
        raise DataError(f"{config.train}: no relevant span matches any unit; check the offsets")
    log.info("%d pairs, %d left out because their labels match no unit", len(pairs), len(drawn) - len(pairs))
    return pairs, {name: len(examples) for name, examples in sources.items()}
