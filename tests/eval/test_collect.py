from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.eval.quality import collect
from secateur.eval.systems.base import SegmentedPassage
from secateur.eval.units import Source
from secateur.labelled.examples import Example
from secateur.models.errors import DataError
from secateur.models.merging import PassageScores

Build = Callable[[str, Sequence[Example]], Source]
Make = Callable[..., Example]


def test_a_killed_run_goes_on_where_it_stopped(
    build: Build, answered: Make, keyword_system: Any, tmp_path: Path
) -> None:
    class Dying(keyword_system):
        def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
            if len(self.queries) == 2:
                raise KeyboardInterrupt
            return super().score_units(query, passages)

    source = build("toy", [answered(str(i)) for i in range(5)])
    with pytest.raises(KeyboardInterrupt):
        collect(Dying(), source, tmp_path)
    path = tmp_path / "keyword" / "toy.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"id": "2", "rele', encoding="utf-8")  # killed while writing
    system = keyword_system()
    scores = collect(system, source, tmp_path)
    assert len(system.queries) == 3
    np.testing.assert_array_equal(scores.units, collect(keyword_system(), source, None).units)
    again = keyword_system()
    collect(again, source, tmp_path)
    assert again.queries == []


def test_scores_of_another_model_or_other_data_are_not_used(
    build: Build, answered: Make, keyword_system: Any, tmp_path: Path
) -> None:
    source = build("toy", [answered("1")])
    collect(keyword_system("race"), source, tmp_path)
    other = keyword_system("Cats")
    collect(other, source, tmp_path)
    assert len(other.queries) == 1
    changed = keyword_system("Cats")
    collect(changed, build("toy", [answered("1"), answered("2")]), tmp_path)
    assert len(changed.queries) == 2


def test_a_broken_score_file_is_scored_anew(build: Build, answered: Make, keyword_system: Any, tmp_path: Path) -> None:
    source = build("toy", [answered("1")])
    collect(keyword_system(), source, tmp_path)
    path = tmp_path / "keyword" / "toy.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("{", "[", 2), encoding="utf-8")
    system = keyword_system()
    collect(system, source, tmp_path)
    assert len(system.queries) == 1


def test_a_system_that_does_not_rank_is_told_from_one_that_ranks_low(
    build: Build, answered: Make, keyword_system: Any, tmp_path: Path
) -> None:
    class Unranked(keyword_system):
        name = "unranked"

        def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
            return [PassageScores(float("nan"), p.units) for p in super().score_units(query, passages)]

    source = build("toy", [answered("1")])
    for _ in range(2):  # scored, then read
        assert np.isnan(collect(Unranked(), source, tmp_path).relevance).all()
    line = (tmp_path / "unranked" / "toy.jsonl").read_text(encoding="utf-8").splitlines()[1]
    assert json.loads(line)["relevance"] == [None, None]


@pytest.mark.parametrize("wrong", [np.array([0.5]), np.array([0.5, np.nan, 0.1])])
def test_a_system_that_scores_other_units_is_refused(
    build: Build, answered: Make, keyword_system: Any, wrong: np.ndarray
) -> None:
    class Wrong(keyword_system):
        def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
            return [PassageScores(0.5, wrong), *super().score_units(query, passages[1:])]

    with pytest.raises(DataError, match="finite score"):
        collect(Wrong(), build("toy", [answered("1")]), None)


def test_a_system_that_shares_work_sees_the_queries_that_are_left_first(
    build: Build, answered: Make, keyword_system: Any, tmp_path: Path
) -> None:
    class Sharing(keyword_system):
        def __init__(self) -> None:
            super().__init__()
            self.prepared: list[list[str]] = []

        def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
            assert not self.queries
            assert len(queries) == len(passages)
            self.prepared.append(list(queries))

    source = build("toy", [answered(str(i)) for i in range(3)])
    first = Sharing()
    collect(first, source, tmp_path)
    assert first.prepared == [first.queries]
    path = tmp_path / "keyword" / "toy.jsonl"
    path.write_text("\n".join(path.read_text(encoding="utf-8").split("\n")[:3]) + "\n", encoding="utf-8")
    for expected in (1, 0):  # one query was left, then none
        again = Sharing()
        collect(again, source, tmp_path)
        assert [len(queries) for queries in again.prepared] == [1] * expected
