"""Training pairs: sampled passages, changed at random, encoded, labelled token by token, and grouped by query."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.examples import LabelledPassage
from secateur.labelled.readable import is_scored
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.merging import logit
from secateur.models.pruner import Pruner
from secateur.models.segmentation import format_of, segment
from secateur.models.segmenters import Segmenter
from secateur.models.types import Passage, PassageResult, Unit
from secateur.training.config import DataConfig, TeacherConfig
from secateur.training.losses import IGNORED
from secateur.training.sampling import SampledQuery, read_sources, sample_queries
from secateur.training.scoring import score_passages

log = logging.getLogger(__name__)

_LOWEST = 1 / (1 + math.exp(12))  # relevance below which a runtime's rounding matters


@dataclass(frozen=True, slots=True)
class LabelledUnits:
    """A passage with at least one unit that can be kept, and for each unit the probability, in [0, 1], that it is.

    ``relevant`` says whether it answers the query; ``teacher_score`` is the relevance logit of a teacher, if any.
    """

    passage: Passage
    units: tuple[Unit, ...]
    labels: tuple[float, ...]
    relevant: bool
    teacher_score: float | None = None

    @property
    def scored(self) -> list[int]:
        """The positions of the units that can be kept; the others are markup."""
        return [position for position, unit in enumerate(self.units) if is_scored(self.passage.text, unit)]

    def take(self, order: Sequence[int]) -> LabelledUnits:
        """Return a passage made of some of the units, in the given order, separated by white space.

        The units keep their kinds, what of them is hidden, and which others they need.
        """
        text = ""
        units: list[Unit] = []
        places = {position: place for place, position in enumerate(order)}
        for number, position in enumerate(order, 1):
            unit = self.units[position]
            start = len(text)
            text += self.passage.text[unit.start : unit.end]
            if number < len(order) and not text[-1].isspace():
                text += " "
            shift = start - unit.start
            hidden = tuple((first + shift, last + shift) for first, last in unit.hidden)
            needs = tuple(places[needed] for needed in unit.needs if needed in places)
            units.append(Unit(start, len(text), unit.kind, needs, hidden))
        labels = tuple(self.labels[position] for position in order)
        # The teacher scored the whole passage.
        teacher_score = self.teacher_score if list(order) == list(range(len(self.units))) else None
        passage = replace(self.passage, text=text)
        return LabelledUnits(passage, tuple(units), labels, self.relevant and any(labels), teacher_score)


def labelled_units(labelled: LabelledPassage, segmenter: Segmenter) -> LabelledUnits | None:
    """Segment a passage; None if nothing can be learned from it (no text, or labels that match no unit).

    It gets the format that was found: a text made of its units may look like another one.
    """
    passage = replace(labelled.passage, format=format_of(labelled.passage))
    units = tuple(segment(passage, segmenter))
    labels = labelled.unit_labels(units)
    if not any(is_scored(passage.text, unit) for unit in units) or (labelled.relevant and not any(labels)):
        return None
    return LabelledUnits(passage, units, tuple(map(float, labels)), labelled.relevant, labelled.teacher)


def random_run(labels: Sequence[float], rng: random.Random, max_units: int) -> range:
    """Return a random run of units that contains every relevant one (Provence, section 3).

    Its length is uniform from 1 to ``max_units``, or larger if the relevant units are further apart.
    """
    relevant = [position for position, label in enumerate(labels) if label > 0]
    count = len(labels)
    length = rng.randint(1, min(max_units, count))
    if not relevant:
        start = rng.randint(0, count - length)
    else:
        length = max(length, relevant[-1] - relevant[0] + 1)
        start = rng.randint(max(0, relevant[-1] - length + 1), min(relevant[0], count - length))
    return range(start, start + length)


def without_answers(units: LabelledUnits) -> LabelledUnits | None:
    """Remove the relevant units, which leaves an on-topic passage without an answer; None if no text is left."""
    rest = [position for position, label in enumerate(units.labels) if not label]
    return units.take(rest) if not set(units.scored).isdisjoint(rest) else None


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
        """Build a query's pairs that something can be learned from; its number in the run determines the changes."""
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
            scored = units.scored
            run = random_run([units.labels[position] for position in scored], rng, self.config.recut_max_units)
            units = units.take(range(scored[run.start], scored[run.stop - 1] + 1))
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


def scores_on_units(units: Sequence[Unit], result: PassageResult, length: int) -> list[float]:
    """Return a teacher's keep probability of each unit of a text, averaged over characters where its units differ."""
    by_character = np.zeros(length)
    for unit in result.units or ():
        by_character[unit.start : unit.end] = unit.score
    return [float(by_character[unit.start : unit.end].mean()) for unit in units]


def with_teacher_scores(
    queries: Sequence[str], passages: Sequence[Sequence[LabelledUnits]], teacher: Pruner, gold_share: float
) -> list[list[LabelledUnits]]:
    """Replace the labels of each query's passages by a teacher's scores (distillation, Hinton et al. 2015).

    ``gold_share`` is the share of the old labels in the new ones. Whether a passage is relevant stays as it is.
    """

    def relabelled(units: LabelledUnits, result: PassageResult) -> LabelledUnits:
        pairs = zip(units.labels, scores_on_units(units.units, result, len(units.passage.text)), strict=True)
        labels = tuple(gold_share * gold + (1 - gold_share) * score for gold, score in pairs)
        return replace(units, labels=labels, teacher_score=logit(result.score, _LOWEST))

    texts = ((query, [units.passage for units in group]) for query, group in zip(queries, passages, strict=True))
    return [
        [relabelled(units, result) for units, result in zip(group, results, strict=True)]
        for group, results in zip(passages, score_passages(teacher, texts), strict=True)
    ]


def build_groups(builder: GroupBuilder, teacher: TeacherConfig | None = None) -> tuple[list[Group], dict[str, int]]:
    """Return all pairs of a run by query, the same from the same builder, and the number of queries of each source.

    Raises:
        DataError: There is nothing to learn from.
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
