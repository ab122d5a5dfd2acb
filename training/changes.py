"""Changes to labelled passages: taking some of their units, in another order, or without the answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from secateur.labelled.examples import LabelledPassage
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class LabelledUnits:
    """A passage with at least one unit, and for each the probability that it is to be kept.

    Attributes:
        passage: Passage whose text the units tile.
        units: Its units.
        labels: Their probabilities, in [0, 1].
        relevant: Whether the passage answers the query.
        teacher_score: Relevance logit of a teacher, if there is one.
    """

    passage: Passage
    units: tuple[Unit, ...]
    labels: tuple[float, ...]
    relevant: bool
    teacher_score: float | None = None

    def take(self, order: Sequence[int]) -> LabelledUnits:
        """Return a passage made of some of the units, in the given order, separated by white space."""
        text = ""
        units: list[Unit] = []
        for number, position in enumerate(order, 1):
            unit = self.units[position]
            start = len(text)
            text += self.passage.text[unit.start : unit.end]
            if number < len(order) and not text[-1].isspace():
                text += " "
            units.append(Unit(start, len(text), unit.kind))
        labels = tuple(self.labels[position] for position in order)
        # The teacher scored the whole passage.
        teacher_score = self.teacher_score if list(order) == list(range(len(self.units))) else None
        passage = replace(self.passage, text=text)
        return LabelledUnits(passage, tuple(units), labels, self.relevant and any(labels), teacher_score)


def labelled_units(labelled: LabelledPassage, segmenter: Segmenter) -> LabelledUnits | None:
    """Segment a passage; None if nothing can be learned from it (no text, or labels that match no unit)."""
    units = segment(labelled.passage, segmenter)
    labels = labelled.unit_labels(units)
    if not units or (labelled.relevant and not any(labels)):
        return None
    return LabelledUnits(labelled.passage, tuple(units), tuple(map(float, labels)), labelled.relevant, labelled.teacher)


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
    """Remove the relevant units, which leaves an on-topic passage without an answer; None if nothing is left."""
    rest = [position for position, label in enumerate(units.labels) if not label]
    return units.take(rest) if rest else None
