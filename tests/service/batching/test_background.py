"""Turns of work that gives way: it begins when next to nothing waits, in order, and is not starved."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from secateur.service.batching import engine
from secateur.service.batching.engine import Background


@dataclass
class Queue:
    """What of an engine turns are decided by."""

    step_tokens: int = 100
    admission: Any = field(default_factory=lambda: SimpleNamespace(waiting=0))


async def begun(turns: Background, *sizes: int) -> tuple[list[int], list[asyncio.Task[None]]]:
    """Ask for turns of so many tokens, and return those that were given."""
    given: list[int] = []

    async def work(number: int, tokens: int) -> None:
        async with turns.turn(tokens):
            given.append(number)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(work(number, tokens)) for number, tokens in enumerate(sizes)]
    await asyncio.sleep(0.1)
    return given, tasks


def test_two_steps_begin_at_once_and_a_larger_piece_alone() -> None:
    async def run() -> None:
        turns = Background(Queue())  # type: ignore[arg-type]
        given, tasks = await begun(turns, 60, 60, 80, 1)
        assert given == [0, 1, 2]
        for task in tasks[:3]:
            task.cancel()
        await asyncio.sleep(0.1)
        assert given == [0, 1, 2, 3]
        tasks[3].cancel()
        await asyncio.sleep(0.1)
        given, tasks = await begun(turns, 10_000, 1)
        assert given == [0]
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_work_waits_while_others_wait() -> None:
    async def run() -> None:
        queue = Queue()
        queue.admission.waiting = 150
        given, tasks = await begun(Background(queue), 40, 60)  # type: ignore[arg-type]
        assert given == [0]
        queue.admission.waiting = 300
        tasks[0].cancel()
        await asyncio.sleep(0.1)
        assert given == [0]
        queue.admission.waiting = 0
        await asyncio.sleep(0.1)
        assert given == [0, 1]
        tasks[1].cancel()

    asyncio.run(run())


def test_work_is_not_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PATIENCE_S", 0.02)

    async def run() -> None:
        queue = Queue()
        queue.admission.waiting = 10_000
        given, tasks = await begun(Background(queue), 40, 40, 40)  # type: ignore[arg-type]
        assert given == [0]
        tasks[0].cancel()
        tasks[1].cancel()  # one that waits for its turn goes away
        await asyncio.sleep(0.2)
        assert given == [0, 2]
        tasks[2].cancel()

    asyncio.run(run())
