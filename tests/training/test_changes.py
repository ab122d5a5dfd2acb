from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from secateur.labelled.examples import LabelledPassage
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage
from secateur.training.pairs import LabelledUnits, labelled_units, random_run, without_answers

TEXT = "Rome is old. Anna won the race. It rained all day. The crowd went home."
ANSWER = (TEXT.index("Anna"), TEXT.index("race.") + 5)


def units_of(text: str = TEXT, span: tuple[int, int] | None = ANSWER) -> LabelledUnits:
    labelled = LabelledPassage(Passage(text), (span,) if span else (), span is not None, teacher=1.5)
    found = labelled_units(labelled, get_segmenter())
    assert found is not None
    return found


def texts(units: LabelledUnits) -> list[str]:
    return [units.passage.text[unit.start : unit.end].strip() for unit in units.units]


def test_labels_that_match_no_unit_leave_nothing_to_learn() -> None:
    segmenter = get_segmenter()
    assert labelled_units(LabelledPassage(Passage(TEXT), (), True), segmenter) is None
    assert labelled_units(LabelledPassage(Passage(""), (), False), segmenter) is None


@given(st.lists(st.booleans(), min_size=1, max_size=15), st.integers(0, 1000), st.integers(1, 12))
def test_a_random_run_holds_every_relevant_unit_and_is_no_longer_than_needed(
    labels: list[bool], seed: int, max_units: int
) -> None:
    run = random_run([float(label) for label in labels], random.Random(seed), max_units)
    relevant = [i for i, label in enumerate(labels) if label]
    assert 0 <= run.start < run.stop <= len(labels)
    assert all(i in run for i in relevant)
    span = relevant[-1] - relevant[0] + 1 if relevant else 0
    assert len(run) <= max(max_units, span)


def test_every_length_and_place_of_a_run_comes_up() -> None:
    rng = random.Random(0)
    runs = {random_run([0, 1, 0, 0], rng, 10) for _ in range(500)}
    assert runs == {range(a, b) for a in (0, 1) for b in (2, 3, 4)}


@given(st.permutations(range(4)), st.integers(1, 4))
def test_taken_units_tile_the_new_text_and_keep_their_labels(order: list[int], count: int) -> None:
    given_units = units_of()
    taken = given_units.take(order[:count])
    ends = [0, *(unit.end for unit in taken.units)]
    assert [unit.start for unit in taken.units] == ends[:-1]
    assert ends[-1] == len(taken.passage.text)
    assert texts(taken) == [texts(given_units)[i] for i in order[:count]]
    assert [text for text, label in zip(texts(taken), taken.labels, strict=True) if label] == (
        ["Anna won the race."] if 1 in order[:count] else []
    )
    assert taken.relevant == (1 in order[:count])


def test_taken_neighbours_stand_as_they_stood() -> None:
    assert units_of().take([1, 2]).passage.text == "Anna won the race. It rained all day. "


def test_units_that_ended_the_text_get_a_space_behind_them() -> None:
    assert units_of().take([3, 0]).passage.text == "The crowd went home. Rome is old. "


def test_a_teachers_score_goes_with_the_whole_passage_only() -> None:
    assert units_of().take([0, 1, 2, 3]).teacher_score == 1.5
    assert units_of().take([1, 2]).teacher_score is None
    assert units_of().take([1, 0, 2, 3]).teacher_score is None


def test_a_passage_without_its_answers_does_not_answer() -> None:
    rest = without_answers(units_of())
    assert rest is not None
    assert rest.passage.text == "Rome is old. It rained all day. The crowd went home."
    assert not rest.relevant
    assert not any(rest.labels)
    assert without_answers(units_of("Anna won the race.", (0, 4))) is None
