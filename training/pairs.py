"""Training pairs: drawn passages, changed at random, encoded and labelled token by token, kept together by query."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.pruner import Pruner
from secateur.models.segmenters import Segmenter
from secateur.training.changes import LabelledUnits, labelled_units, random_run, shuffled, without_answers
from secateur.training.config import DataConfig, DistillConfig
from secateur.training.drawing import Drawn, draw, read_sources
from secateur.training.losses import IGNORED
from secateur.training.teaching import taught

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One encoded training pair.

    Attributes:
        input_ids: int32[tokens].
        labels: float32[tokens], probability that a token is to be kept, in [0, 1]; `IGNORED` on query, title and
            special tokens.
        units: int16[tokens], each labelled token's unit, counted from the window's first; 0 elsewhere.
        passage_start: position where the passage's token type begins.
        relevant: whether the window holds an answer.
        teacher: a reranker's logit; nan where there is none.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.float32]
    units: NDArray[np.int16]
    passage_start: int
    relevant: bool
    teacher: float

    def __len__(self) -> int:
        return len(self.input_ids)


Group = tuple[Pair, ...]
"""The pairs of one query."""


class GroupBuilder:
    """Changes, encodes and labels what was drawn. The same seed gives the same group, whatever was built before.

    Args:
        encoder: with the window used in training.
        segmenter: sentence segmenter.
        config: shares of the changes.
        seed: of every random choice.
    """

    def __init__(self, encoder: PairEncoder, segmenter: Segmenter, config: DataConfig, seed: int) -> None:
        self._encoder = encoder
        self._segmenter = segmenter
        self._config = config
        self._seed = seed

    def build(self, number: int, drawn: Drawn) -> Group:
        """Build the pairs of a query; passages that nothing can be learned from are left out.

        Args:
            number: of the draw in its run, which decides on its changes.
            drawn: query and passages.
        """
        return self.encode(number, drawn.query, self.change(number, drawn))

    def change(self, number: int, drawn: Drawn) -> list[LabelledUnits]:
        """Return a query's passages as they will be learned from; see `build`."""
        rng = random.Random(f"{self._seed}/{number}")
        return [self._changed(units, rng) for units in self._passages(drawn)]

    def encode(self, number: int, query: str, passages: Sequence[LabelledUnits]) -> Group:
        """Encode and label changed passages; see `build`."""
        rng = random.Random(f"{self._seed}/{number}/window")
        query_ids, _ = self._encoder.encode_query(query, truncate=True)
        pairs = [self._encode(query_ids, units, rng) for units in passages]
        return tuple(pair for pair in pairs if pair is not None)

    def _passages(self, drawn: Drawn) -> list[LabelledUnits]:
        found = [units for p in drawn.passages if (units := labelled_units(p, self._segmenter)) is not None]
        if drawn.no_answer and found and found[0].relevant:
            rest = without_answers(found[0])
            found += [rest] if rest is not None else []
        return found

    def _changed(self, units: LabelledUnits, rng: random.Random) -> LabelledUnits:
        config = self._config
        if rng.random() < config.recut_share:
            units = units.take(random_run(units.labels, rng, config.recut_max_units))
        if rng.random() < config.shuffle_share:
            units = shuffled(units, rng)
        if rng.random() >= config.title_share:
            units = replace(units, passage=replace(units.passage, title=None))
        return units

    def _encode(self, query_ids: Sequence[int], units: LabelledUnits, rng: random.Random) -> Pair | None:
        windows = self._encoder.encode(query_ids, [units.passage], [units.units])[0].windows
        labels = np.asarray(units.labels, dtype=np.float32)
        # A window of a relevant passage that holds none of its answer would teach that it is not relevant.
        holding = [w for w in windows if not units.relevant or (labels[w.token_unit] == labels.max()).any()]
        if not holding:
            return None
        window = rng.choice(holding)
        token_labels = np.full(len(window), IGNORED, dtype=np.float32)
        text = slice(window.text_start, window.text_start + len(window.token_unit))
        token_labels[text] = labels[window.token_unit]
        token_units = np.zeros(len(window), dtype=np.int16)
        token_units[text] = window.token_unit - window.token_unit[:1]
        teacher = math.nan if units.teacher is None or len(windows) > 1 else units.teacher
        return Pair(window.ids, token_labels, token_units, window.passage_start, units.relevant, teacher)


def build_groups(
    config: DataConfig, encoder: PairEncoder, segmenter: Segmenter, seed: int, distill: DistillConfig | None = None
) -> tuple[list[Group], dict[str, int]]:
    """Read, draw, change, encode and label all pairs of a run.

    Args:
        config: what to draw.
        encoder: with the window used in training.
        segmenter: sentence segmenter.
        seed: the same seed gives the same pairs in the same order.
        distill: the teacher to label by.

    Returns:
        The pairs by query, and the number of queries of each source that they were drawn from.

    Raises:
        DataError: there is nothing to learn from.
    """
    sources = read_sources(config)
    drawn = draw(sources, config, random.Random(seed))
    builder = GroupBuilder(encoder, segmenter, config, seed)
    queries = [one.query for one in drawn]
    passages = [builder.change(number, one) for number, one in enumerate(drawn)]
    if distill is not None:
        log.info("%s labels %d passages", distill.teacher, sum(map(len, passages)))
        passages = taught(queries, passages, Pruner.load(distill.teacher, backend=distill.backend), distill.gold_share)
    built = (builder.encode(n, query, units) for n, (query, units) in enumerate(zip(queries, passages, strict=True)))
    groups = [group for group in built if group]
    pairs = sum(map(len, groups))
    if not any(pair.relevant for group in groups for pair in group):
        raise DataError(f"{config.train}: no relevant span matches any unit; check the offsets")
    lost = sum(map(len, drawn)) - pairs
    log.info("%d pairs of %d queries, %d left out: labels match no unit", pairs, len(groups), lost)
    return groups, {name: len(examples) for name, examples in sources.items()}
