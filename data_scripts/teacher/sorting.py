"""Sorting by pairwise comparisons and by windows, as pairwise and listwise teachers need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import combinations
from typing import TypeVar

_T = TypeVar("_T")

Compare = Callable[[int, int], Awaitable[float]]
"""From two items to 1 if the first is preferred, 0 if the second is, 0.5 for a tie."""
Rank = Callable[[Sequence[int]], Awaitable[list[int]]]
"""From some items to the same ones, best first."""


async def settled(work: Iterable[Awaitable[_T]]) -> list[_T]:
    """Return the results of concurrent work; an error is raised only when all of it has ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    found: list[_T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found


async def all_pairs(count: int, compare: Compare) -> list[float]:
    """Compare all pairs, and return each item's number of wins (PRP-Allpair: Qin et al. 2023, arXiv 2306.17563)."""
    pairs = list(combinations(range(count), 2))
    wins = [0.0] * count
    for (a, b), share in zip(pairs, await settled(compare(a, b) for a, b in pairs), strict=True):
        wins[a] += share
        wins[b] += 1 - share
    return wins


async def heapsort(count: int, compare: Compare) -> list[int]:
    """Return items, best first, after about 2 n log n comparisons (PRP-Sorting); ties go to the earlier item."""

    async def better(a: int, b: int) -> bool:
        share = await compare(a, b)
        return share > 0.5 or (share == 0.5 and a < b)

    heap = list(range(count))  # best item at the root

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
    """Return items after passes from last to first that swap neighbours (PRP-Sliding-K): k passes find the best k."""
    order = list(range(count))
    for fixed in range(min(passes, count - 1)):
        for place in range(count - 2, fixed - 1, -1):
            if await compare(order[place], order[place + 1]) < 0.5:
                order[place], order[place + 1] = order[place + 1], order[place]
    return order


async def windows(count: int, rank: Rank, window: int, step: int) -> list[int]:
    """Return items after ranking overlapping windows, last to first (RankGPT: Sun et al. 2023, arXiv 2304.09542)."""
    order = list(range(count))
    end = count
    while True:
        start = max(0, end - window)
        order[start:end] = await rank(order[start:end])
        if start == 0:
            return order
        end -= step
