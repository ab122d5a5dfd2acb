"""Changing labelled passages at random: cut, shuffled, with their answers removed."""

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
    """A passage with a label for each of its units.

    Attributes:
        passage: whose text the units tile.
        units: at least one.
        labels: for each unit the probability that it is to be kept, in [0, 1].
        relevant: whether the passage answers the query.
        teacher: a reranker's logit for query and passage, where there is one.
    """

    passage: Passage
    units: tuple[Unit, ...]
    labels: tuple[float, ...]
    relevant: bool
    teacher: float | None = None

    def take(self, order: Sequence[int]) -> LabelledUnits:
        """Return the passage made of some of its units, in the given order, as they stand or apart by a space."""
        text = ""
        units: list[Unit] = []
        for position in order:
            unit = self.units[position]
            if text and not text[-1].isspace():
                text, units[-1] = text + " ", replace(units[-1], end=units[-1].end + 1)
            start = len(text)
            text += self.passage.text[unit.start : unit.end]
            units.append(Unit(start, len(text), unit.kind))
        labels = tuple(self.labels[position] for position in order)
        # A teacher's score was of the whole passage.
        teacher = self.teacher if list(order) == list(range(len(self.units))) else None
        return LabelledUnits(
            replace(self.passage, text=text), tuple(units), labels, self.relevant and any(labels), teacher
        )


def labelled_units(labelled: LabelledPassage, segmenter: Segmenter) -> LabelledUnits | None:
    """Segment a passage; None when there is nothing to learn (no text, or labels that match no unit)."""
    units = segment(labelled.passage, segmenter)
    labels = labelled.unit_labels(units)
    if not units or (labelled.relevant and not any(labels)):
        return None
    return LabelledUnits(labelled.passage, tuple(units), tuple(map(float, labels)), labelled.relevant, labelled.teacher)


def random_run(labels: Sequence[float], rng: random.Random, max_units: int) -> range:
    """Return a random run of units that holds every relevant one (Provence, section 3).

    Args:
        labels: of the units.
        rng: decides.
        max_units: its length is drawn from 1 to this, or to the number of units; a longer one where the relevant units
            ask for it.
    """
    relevant = [position for position, label in enumerate(labels) if label > 0]
    count = len(labels)
    length = rng.randint(1, min(max_units, count))
    if not relevant:
        start = rng.randint(0, count - length)
        return range(start, start + length)
    first, last = relevant[0], relevant[-1]
    length = max(length, last - first + 1)
    start = rng.randint(max(0, last - length + 1), min(first, count - length))
    return range(start, start + length)


def shuffled(units: LabelledUnits, rng: random.Random) -> LabelledUnits:
    """Put the units into another order, so that position tells nothing."""
    return units.take(rng.sample(range(len(units.units)), len(units.units)))


def without_answers(units: LabelledUnits) -> LabelledUnits | None:
    """Remove the relevant units, which leaves a passage on the topic that does not answer; None if nothing is left."""
    rest = [position for position, label in enumerate(units.labels) if not label]
    return units.take(rest) if rest else None
