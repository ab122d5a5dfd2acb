"""Sorting by comparisons that are asked for, and by windows: the orders that pairwise and listwise teachers need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import combinations
from typing import TypeVar

_T = TypeVar("_T")

# From two items to how much the first is preferred: 1, 0.5 (a tie) or 0.
Compare = Callable[[int, int], Awaitable[float]]
# From some items to the same ones in a new order.
Rank = Callable[[Sequence[int]], Awaitable[list[int]]]


async def settled(work: Iterable[Awaitable[_T]]) -> list[_T]:
    """Return the results of work done at once; an error is raised when all of it has ended, so that none runs on."""
    results = await asyncio.gather(*work, return_exceptions=True)
    found: list[_T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found


async def all_pairs(count: int, compare: Compare) -> list[float]:
    """Compare each item with each other, and return how many comparisons each won (PRP-Allpair, Qin et al. 2023)."""
    pairs = list(combinations(range(count), 2))
    wins = [0.0] * count
    for (a, b), share in zip(pairs, await settled(compare(a, b) for a, b in pairs), strict=True):
        wins[a] += share
        wins[b] += 1 - share
    return wins


async def heapsort(count: int, compare: Compare) -> list[int]:
    """Return items, the best first, after about n log n comparisons (PRP-Sorting); ties go to the earlier item."""

    async def better(a: int, b: int) -> bool:
        share = await compare(a, b)
        return share > 0.5 or (share == 0.5 and a < b)

    heap = list(range(count))  # the best at its root

    async def sink(place: int, size: int) -> None:
        while (child := 2 * place + 1) < size:
            if child + 1 < size and await better(heap[child + 1], heap[child]):
                child += 1
            if not await better(heap[child], heap[place]):
                return
            heap[place], heap[child] = heap[child], heap[place]
            place = child

    for place in range(count // 2 - 1, -1, -1):
        await sink(place, count)
    order = []
    for size in range(count - 1, -1, -1):
        order.append(heap[0])
        heap[0] = heap[size]
        await sink(0, size)
    return order


async def sliding(count: int, compare: Compare, passes: int) -> list[int]:
    """Return items after passes from the last to the first that swap neighbours (PRP-Sliding-K).

    After k passes the best k stand in front; the others are near their first order.
    """
    order = list(range(count))
    for fixed in range(min(passes, count - 1)):
        for place in range(count - 2, fixed - 1, -1):
            if await compare(order[place], order[place + 1]) < 0.5:
                order[place], order[place + 1] = order[place + 1], order[place]
    return order


async def windows(count: int, rank: Rank, window: int, step: int) -> list[int]:
    """Return items after ranking overlapping windows from the last to the first (RankGPT, Sun et al. 2023)."""
    order = list(range(count))
    end = count
    while True:
        start = max(0, end - window)
        order[start:end] = await rank(order[start:end])
        if start == 0:
            return order
        end -= step
