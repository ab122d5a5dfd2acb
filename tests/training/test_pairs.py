from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from secateur.labelled.examples import Example, LabelledPassage, read_examples
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage, PassageResult, Unit, UnitScore
from secateur.training.config import DataConfig, TeacherConfig
from secateur.training.losses import IGNORED
from secateur.training.pairs import Group, GroupBuilder, Pair, build_groups, scores_on_units
from secateur.training.sampling import SampledQuery

TEXT = "Rome is old. Anna won the race. It rained all day. The crowd went home."

MakeExample = Callable[[str], Example]
MakeRow = Callable[[str], dict[str, Any]]


def build(
    tokenizer: Tokenizer, passage: LabelledPassage, *, window: int = 128, no_answer: bool = False, **changes: float
) -> tuple[Pair, ...]:
    plain = {"recut_share": 0.0, "title_share": 0.0, "shuffle_share": 0.0}
    config = DataConfig(train=Path(), **(plain | changes))  # type: ignore[arg-type]
    builder = GroupBuilder(PairEncoder(tokenizer, window), get_segmenter(), config, 0)
    return builder.build(0, SampledQuery("Who won?", (passage,), no_answer))


def groups_of(
    tokenizer: Tokenizer, config: DataConfig, seed: int = 0, teacher: TeacherConfig | None = None, window: int = 128
) -> tuple[list[Group], dict[str, int]]:
    return build_groups(GroupBuilder(PairEncoder(tokenizer, window), get_segmenter(), config, seed), teacher)


def tokens(tokenizer: Tokenizer, pair: Pair, label: float) -> list[str]:
    return [str(tokenizer.id_to_token(int(i))) for i in pair.input_ids[pair.labels == label]]


def test_tokens_are_labelled_by_their_unit(tokenizer: Tokenizer, toy_example: MakeExample) -> None:
    (pair,) = build(tokenizer, toy_example("x").passages[0])
    assert pair.relevant
    assert np.isnan(pair.teacher_score)
    assert tokens(tokenizer, pair, 1) == ["anna", "won", "the", "race", "."]
    assert set(pair.units[pair.labels == 1].tolist()) == {1}
    assert set(pair.units[pair.labels == 0].tolist()) == {0, 2, 3}


def test_query_title_and_special_tokens_are_ignored(tokenizer: Tokenizer, toy_example: MakeExample) -> None:
    (pair,) = build(tokenizer, toy_example("x").passages[0], title_share=1.0)
    assert tokens(tokenizer, pair, IGNORED) == ["[CLS]", "who", "won", "?", "[SEP]", "races", ":", "[SEP]"]


def test_a_long_passage_gives_a_window_that_holds_the_answer(tokenizer: Tokenizer) -> None:
    text = "Filler words come here. " * 60 + TEXT
    start = text.index("Anna")
    (pair,) = build(tokenizer, LabelledPassage(Passage(text), ((start, start + 18),), True, teacher=2.0), window=64)
    assert len(pair) <= 64
    assert (pair.labels == 1).any()
    assert np.isnan(pair.teacher_score)  # it scored the passage, not this window


def test_a_passage_comes_again_without_its_answer(tokenizer: Tokenizer, toy_example: MakeExample) -> None:
    positive, negative = build(tokenizer, toy_example("x").passages[0], no_answer=True)
    assert positive.relevant
    assert not negative.relevant
    assert "anna" not in tokens(tokenizer, negative, 0)
    assert tokens(tokenizer, negative, 1) == []


def test_passages_that_nothing_can_be_learned_from_are_left_out(tokenizer: Tokenizer) -> None:
    assert build(tokenizer, LabelledPassage(Passage(TEXT), (), True)) == ()
    assert build(tokenizer, LabelledPassage(Passage(""), (), False)) == ()


def test_the_same_seed_gives_the_same_pairs(toy: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=toy, pairs=60, shuffle_share=0.5)
    runs = [groups_of(tokenizer, config, seed)[0] for seed in (3, 3, 4)]
    ids = [[pair.input_ids.tolist() for group in groups for pair in group] for groups in runs]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_a_group_does_not_depend_on_those_before_it(tokenizer: Tokenizer, toy_example: MakeExample) -> None:
    config = DataConfig(train=Path(), shuffle_share=0.5)
    drawn = [SampledQuery(e.query, e.passages) for e in map(toy_example, "abcd")]
    builders = [GroupBuilder(PairEncoder(tokenizer, 128), get_segmenter(), config, 5) for _ in range(2)]
    forwards = [builders[0].build(i, drawn[i]) for i in range(4)]
    backwards = [builders[1].build(i, drawn[i]) for i in reversed(range(4))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert [p.input_ids.tolist() for p in one] == [p.input_ids.tolist() for p in other]


def test_data_without_a_positive_cannot_be_trained_on(tmp_path: Path, tokenizer: Tokenizer, toy_row: MakeRow) -> None:
    row = toy_row("x")
    row["passages"] = [{"text": "Cats sleep.", "relevant_spans": [], "relevant": False}]
    (tmp_path / "negative.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="no relevant span"):
        groups_of(tokenizer, DataConfig(train=tmp_path, pairs=4))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ('{"query": "q"}', "passages"),
        ('{"query": "q", "passages": [{"text": "ab", "relevant_spans": [[0, 9]]}]}', "outside the text"),
        ('{"query": "q", "passages": [{"title": "t"}]}', "text"),
        ('{"query": "q", "passages": [{"text": "ab", "teacher_score": NaN}]}', "teacher_score"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, said: str, toy_row: MakeRow) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(toy_row("fine")) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(read_examples(path))


def test_real_data_can_be_labelled(labelled_sample: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=labelled_sample, pairs=300)
    groups, sources = groups_of(tokenizer, config, window=320)
    pairs = [pair for group in groups for pair in group]
    assert len(sources) == 5
    assert len(pairs) > 290
    assert 0.4 < np.mean([pair.relevant for pair in pairs]) < 0.9


@pytest.mark.slow
def test_a_teachers_scores_become_labels(tmp_path: Path, toy: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=toy, pairs=40, recut_share=0.5, shuffle_share=0.5)
    gold, _ = groups_of(tokenizer, config, 1)
    soft, _ = groups_of(tokenizer, config, 1, TeacherConfig("secateur-nano-en"))
    mixed, _ = groups_of(tokenizer, config, 1, TeacherConfig("secateur-nano-en", gold_share=0.5))
    for groups in zip(gold, soft, mixed, strict=True):
        for one, two, three in zip(*groups, strict=True):
            np.testing.assert_array_equal(one.input_ids, two.input_ids)
            known = one.labels != IGNORED
            assert ((two.labels != IGNORED) == known).all()
            assert ((two.labels[known] >= 0) & (two.labels[known] <= 1)).all()
            np.testing.assert_allclose(three.labels[known], (one.labels[known] + two.labels[known]) / 2, atol=1e-5)
            assert np.isnan(one.teacher_score)
            assert np.isfinite(two.teacher_score)
    # What answers it scores above what does not.
    positives = [
        (taught.labels[known.labels == 1].mean(), taught.labels[known.labels == 0].mean())
        for groups in zip(soft, gold, strict=True)
        for taught, known in zip(*groups, strict=True)
        if (known.labels == 1).any() and (known.labels == 0).any()
    ]
    assert len(positives) > 5
    assert np.mean([high > low for high, low in positives]) > 0.9


def test_a_teacher_that_segments_otherwise_is_read_by_characters() -> None:
    units = [UnitScore(0, 4, "sentence", 0.2, False), UnitScore(4, 10, "sentence", 0.8, True)]
    result = PassageResult(0, None, 0.5, "", (), (), "text", 1, 2, False, units=tuple(units))
    assert scores_on_units([Unit(0, 2), Unit(2, 6), Unit(6, 10)], result, 10) == pytest.approx([0.2, 0.5, 0.8])
