from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from benchmarks.data_options import Judge, coverage, ranking_quality
from secateur.data_scripts.teacher import sorting


def test_recall_and_reciprocal_rank() -> None:
    found = ranking_quality([[3, 1, 2], [5, *range(10, 20), 4]], [{1, 9}, {4}])
    assert found == pytest.approx({"recall@10": 0.25, "MRR@10": 0.25})


def test_coverage_is_the_mean_cosine_to_the_nearest() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    assert coverage(vectors, [0]) == pytest.approx(1 / 3)
    assert coverage(vectors, [0, 2]) == pytest.approx(1)


def test_a_judge_without_noise_finds_the_order_of_the_logits() -> None:
    judge = Judge([0.5, 3.0, -1.0], None)
    assert asyncio.run(sorting.heapsort(3, judge.compare)) == [1, 0, 2]
    assert judge.requests == 6
    assert asyncio.run(judge.rank([0, 1, 2])) == [1, 0, 2]


def test_a_noisy_judge_decides_each_pair_once() -> None:
    judge = Judge([0.5, 0.4], random.Random(1))
    first = asyncio.run(judge.compare(0, 1))
    assert first in (0, 0.5, 1)
    assert (asyncio.run(judge.compare(0, 1)), asyncio.run(judge.compare(1, 0))) == (first, 1 - first)
    assert judge.requests == 2
