from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data_scripts.teacher import sorting
from secateur.data_scripts.teacher.verdicts import (
    MAX_LOGIT,
    WORD_LOGIT,
    rank_logits,
    read_order,
    read_preference,
    read_yes_no,
    share_logits,
)
from secateur.llm.cache import Completion


def test_yes_over_no_is_the_softmax_over_both() -> None:
    tokens = (("Yes", math.log(0.5)), (" yes", math.log(0.2)), ("No", math.log(0.1)), ("The", math.log(0.05)))
    assert read_yes_no(Completion("Yes", first_tokens=tokens)) == pytest.approx(math.log(0.7 / 0.1))
    alone = (("No", math.log(0.9)), ("The", math.log(0.01)))
    assert read_yes_no(Completion("No", first_tokens=alone)) == pytest.approx(math.log(0.01 / 0.9))
    assert read_yes_no(Completion("No", first_tokens=(("No", 0.0), ("x", -900.0)))) == -MAX_LOGIT
    single = read_yes_no(Completion("Yes", first_tokens=(("Yes", math.log(0.75)),)))
    assert single == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", WORD_LOGIT),
        ("**No**, it does not.", -WORD_LOGIT),
        ("<think>No? Maybe.</think>\nyes", WORD_LOGIT),
        ("Perhaps", None),
        ("<think>Yes", None),
        ("Nothing", None),
    ],
)
def test_yes_and_no_without_log_probabilities(text: str, expected: float | None) -> None:
    assert read_yes_no(Completion(text, first_tokens=(("<think>", -0.1),))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Passage A", True),
        ("passage B.", False),
        ("B", False),
        ("**A**", True),
        ("The better one is Passage B", False),
        ("A close call", None),
        ("Neither Passage A nor Passage B", None),
        ("<think>Passage A?</think>Passage B", False),
        ("none", None),
    ],
)
def test_which_of_two_is_preferred(text: str, expected: bool | None) -> None:
    assert read_preference(Completion(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[2] > [1] > [3]", [1, 0, 2]),
        ("[3]", [2, 0, 1]),
        ("The order: [2]>[2]>[9]>[0]>[1]", [1, 0, 2]),
        ("2 > 3 > 1", [1, 2, 0]),
        ("<think>[1] > [2]</think> [3] > [2] > [1]", [2, 1, 0]),
        ("I have 3 ideas", None),
        ("[7]", None),
        ("none", None),
    ],
)
def test_orders(text: str, expected: list[int] | None) -> None:
    assert read_order(Completion(text), 3) == expected


@settings(deadline=None)
@given(st.text(alphabet="[]0123456789> ,a", max_size=60), st.integers(1, 12))
def test_an_order_is_always_one_of_all_passages(text: str, count: int) -> None:
    order = read_order(Completion(text), count)
    assert order is None or sorted(order) == list(range(count))


def test_ranks_and_shares_are_of_one_scale() -> None:
    assert rank_logits([2, 0, 1]) == pytest.approx(share_logits([1, 0, 2], 2))
    assert rank_logits([0, 1, 2]) == pytest.approx([math.log(5), 0, -math.log(5)])


class Judge:
    """Knows the right order, and counts what it is asked."""

    def __init__(self, values: list[int]) -> None:
        self.values = values
        self.asked = 0

    async def compare(self, a: int, b: int) -> float:
        self.asked += 1
        await asyncio.sleep(0)
        return 0.5 + ((self.values[a] > self.values[b]) - (self.values[a] < self.values[b])) / 2

    async def rank(self, rows: Sequence[int]) -> list[int]:
        self.asked += 1
        return sorted(rows, key=lambda row: -self.values[row])

    @property
    def right(self) -> list[int]:
        return sorted(range(len(self.values)), key=lambda row: -self.values[row])


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, 99), max_size=25, unique=True))
def test_every_sorting_finds_the_order(values: list[int]) -> None:
    count = len(values)
    judge = Judge(values)
    assert asyncio.run(sorting.heapsort(count, judge.compare)) == judge.right
    assert judge.asked <= 2 * count * max(1, count.bit_length())
    assert asyncio.run(sorting.sliding(count, judge.compare, count)) == judge.right
    wins = asyncio.run(sorting.all_pairs(count, judge.compare))
    assert sorted(range(count), key=lambda row: -wins[row]) == judge.right
    assert asyncio.run(sorting.windows(count, judge.rank, 50, 10)) == judge.right


def test_passes_settle_the_first_ranks() -> None:
    judge = Judge([3, 1, 4, 15, 9, 2, 6, 5])
    order = asyncio.run(sorting.sliding(8, judge.compare, 3))
    assert order[:3] == judge.right[:3]
    assert judge.asked == 7 + 6 + 5


def test_windows_carry_the_best_to_the_front() -> None:
    judge = Judge(list(range(45)))
    order = asyncio.run(sorting.windows(45, judge.rank, 20, 10))
    assert order[:10] == judge.right[:10]
    assert sorted(order) == list(range(45))
    assert judge.asked == 4
