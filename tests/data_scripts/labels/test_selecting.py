from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from secateur.data_scripts.labels.selecting import nearest, select, uncertainty, vote_k
from secateur.data_scripts.records import Pair, read_records
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import InputError
from secateur.models.pruner import Pruner


def clusters(sizes: Sequence[int], seed: int = 0) -> NDArray[np.float32]:
    """Vectors in as many directions as there are sizes, a little apart in each."""
    rng = np.random.default_rng(seed)
    centres = np.eye(len(sizes), 16)
    rows = np.concatenate(
        [centre + 0.05 * rng.normal(size=(size, 16)) for centre, size in zip(centres, sizes, strict=True)]
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plain_vote_k(vectors: NDArray[np.float32], count: int, neighbours: int) -> list[int]:
    """The paper's formula, every score anew for each choice."""
    edges = nearest(vectors, neighbours)
    chosen: list[int] = []
    for _ in range(count):
        scores = np.full(len(vectors), -np.inf)
        for row in set(range(len(vectors))) - set(chosen):
            voters = [v for v in range(len(vectors)) if row in edges[v] and v not in chosen]
            scores[row] = sum(10.0 ** -len(set(edges[v]) & set(chosen)) for v in voters)
        chosen.append(int(np.argmax(scores)))
    return chosen


def test_nearest_are_those_of_the_greatest_cosine() -> None:
    vectors = clusters([5, 5])
    rows = nearest(vectors, 4)
    assert all(set(row) == set(range(5)) - {i} for i, row in enumerate(rows[:5]))


def test_vote_k_is_the_papers() -> None:
    vectors = clusters([7, 6, 5, 4])
    assert vote_k(vectors, 10, neighbours=3) == plain_vote_k(vectors, 10, neighbours=3)


def test_vote_k_takes_one_of_each_kind_first() -> None:
    chosen = vote_k(clusters([20, 20, 20]), 3, neighbours=10)
    assert {row // 20 for row in chosen} == {0, 1, 2}


def test_uncertainty_is_great_where_the_scores_are_in_the_middle(pruner: Pruner) -> None:
    plain = Pair("a", "When was the Eiffel Tower finished?", "Bread needs flour. Cats sleep.")
    scores = uncertainty(pruner, [plain, Pair("b", "Where was she born?", "He was born in Lima. Her home was Rome.")])
    assert 0 <= scores[0] < scores[1] <= 1


def unit_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.eye(2, dtype=np.float32)[[int("whale" in text) for text in texts]]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["random", "diverse", "uncertain"])
def test_the_chosen_pairs_keep_their_order(tmp_path: Path, by: str) -> None:
    texts = ["Bread needs flour.", "A whale swims."] * 5
    write_json_lines(tmp_path / "in.jsonl", [Pair(str(i), "What swims?", f"{t} {i}.") for i, t in enumerate(texts)])
    for out in ("a.jsonl", "b.jsonl"):
        assert select(tmp_path / "in.jsonl", tmp_path / out, 4, by, unit_vectors) == 4  # type: ignore[arg-type]
    ids = [int(pair.id) for pair in read_records(tmp_path / "a.jsonl", Pair)]
    assert ids == sorted(ids)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_fewer_pairs_than_asked_for_are_all_chosen(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "in.jsonl", [Pair("1", "q", "p"), Pair("2", " ", "p")])
    assert select(tmp_path / "in.jsonl", tmp_path / "out.jsonl", 9, "diverse", unit_vectors) == 1


def test_a_count_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="count: 0 is not possible"):
        select(tmp_path / "in.jsonl", tmp_path / "out.jsonl", 0, "random", unit_vectors)
