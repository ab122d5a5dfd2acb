"""Training pairs: sampled passages, changed at random, encoded, labelled token by token, and grouped by query."""

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
from secateur.training.changes import LabelledUnits, labelled_units, random_run, without_answers
from secateur.training.config import DataConfig, TeacherConfig
from secateur.training.losses import IGNORED
from secateur.training.sampling import SampledQuery, read_sources, sample_queries
from secateur.training.scoring import with_teacher_scores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One encoded training pair.

    Attributes:
        input_ids: int32[tokens].
        labels: float32[tokens], probability that a token is to be kept, in [0, 1], or `IGNORED`.
        units: int16[tokens], the unit of each labelled token, counted from the window's first; 0 elsewhere.
        passage_start: Position where the passage's token type begins.
        relevant: Whether the window contains an answer.
        teacher_score: Relevance logit of a teacher; nan where there is none.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.float32]
    units: NDArray[np.int16]
    passage_start: int
    relevant: bool
    teacher_score: float

    def __len__(self) -> int:
        return len(self.input_ids)


Group = tuple[Pair, ...]
"""The pairs of one query."""


@dataclass(frozen=True, slots=True)
class GroupBuilder:
    """Changes, encodes and labels sampled queries. The same seed and number give the same group, in any order."""

    encoder: PairEncoder
    segmenter: Segmenter
    config: DataConfig
    seed: int

    def build(self, number: int, sampled: SampledQuery) -> Group:
        """Build the pairs of a query, without the passages that nothing can be learned from.

        The number of the query in the run determines its random changes.
        """
        return self.encode(number, sampled.query, self.change(number, sampled))

    def change(self, number: int, sampled: SampledQuery) -> list[LabelledUnits]:
        """Segment and change a query's passages; see `build`."""
        found = [units for p in sampled.passages if (units := labelled_units(p, self.segmenter)) is not None]
        if sampled.no_answer and found and found[0].relevant and (rest := without_answers(found[0])) is not None:
            found.append(rest)
        rng = random.Random(f"{self.seed}/{number}")
        return [self._changed(units, rng) for units in found]

    def encode(self, number: int, query: str, passages: Sequence[LabelledUnits]) -> Group:
        """Encode and label changed passages; see `build`."""
        rng = random.Random(f"{self.seed}/{number}/window")
        query_ids, _ = self.encoder.encode_query(query, truncate=True)
        pairs = [self._encode(query_ids, units, rng) for units in passages]
        return tuple(pair for pair in pairs if pair is not None)

    def _changed(self, units: LabelledUnits, rng: random.Random) -> LabelledUnits:
        if rng.random() < self.config.recut_share:
            units = units.take(random_run(units.labels, rng, self.config.recut_max_units))
        if rng.random() < self.config.shuffle_share:
            units = units.take(rng.sample(range(len(units.units)), len(units.units)))
        if rng.random() >= self.config.title_share:
            units = replace(units, passage=replace(units.passage, title=None))
        return units

    def _encode(self, query_ids: Sequence[int], units: LabelledUnits, rng: random.Random) -> Pair | None:
        windows = self.encoder.encode(query_ids, [units.passage], [units.units])[0].windows
        labels = np.asarray(units.labels, dtype=np.float32)
        # A window of a relevant passage without its answer would be learned as irrelevant.
        usable = [w for w in windows if not units.relevant or (labels[w.token_unit] == labels.max()).any()]
        if not usable:
            return None
        window = rng.choice(usable)
        token_labels = np.full(len(window), IGNORED, dtype=np.float32)
        text = slice(window.text_start, window.text_start + len(window.token_unit))
        token_labels[text] = labels[window.token_unit]
        token_units = np.zeros(len(window), dtype=np.int16)
        token_units[text] = window.token_unit - window.token_unit[:1]
        # The teacher scored the whole passage, not a window of it.
        teacher_score = math.nan if units.teacher_score is None or len(windows) > 1 else units.teacher_score
        return Pair(window.ids, token_labels, token_units, window.passage_start, units.relevant, teacher_score)


def build_groups(builder: GroupBuilder, teacher: TeacherConfig | None = None) -> tuple[list[Group], dict[str, int]]:
    """Return all pairs of a run by query, the same from the same builder, and the number of queries of each source.

    Raises:
        DataError: there is nothing to learn from.
    """
    sources = read_sources(builder.config)
    sampled = sample_queries(sources, builder.config, random.Random(builder.seed))
    queries = [one.query for one in sampled]
    passages = [builder.change(number, one) for number, one in enumerate(sampled)]
    if teacher is not None:
        log.info("%s labels %d passages", teacher.model, sum(map(len, passages)))
        pruner = Pruner.load(teacher.model, backend=teacher.backend)
        passages = with_teacher_scores(queries, passages, pruner, teacher.gold_share)
    built = (builder.encode(n, query, units) for n, (query, units) in enumerate(zip(queries, passages, strict=True)))
    groups = [group for group in built if group]
    if not any(pair.relevant for group in groups for pair in group):
        raise DataError(f"{builder.config.train}: no relevant span matches any unit; check the offsets")
    pairs = sum(map(len, groups))
    lost = sum(map(len, sampled)) - pairs
    log.info("%d pairs of %d queries; %d left out because their labels match no unit", pairs, len(groups), lost)
    return groups, {name: len(examples) for name, examples in sources.items()}
