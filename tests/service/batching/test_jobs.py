"""The queue of windows: first come, first served, under a budget of tokens."""

from __future__ import annotations

import asyncio
import threading

import numpy as np

from secateur.models.encoding import Window
from secateur.models.merging import WindowOutput
from secateur.service.batching.jobs import Job, WindowQueue


def window(tokens: int) -> Window:
    return Window(np.zeros(tokens, np.int32), 1, 1, np.zeros(tokens - 1, np.int32))


def output(relevance: float) -> WindowOutput:
    return WindowOutput(relevance, np.zeros(1, np.float32))


def job(*lengths: int) -> Job:
    loop = asyncio.new_event_loop()
    return Job([window(length) for length in lengths], loop.create_future(), loop)


def taken(queue: WindowQueue, tokens: int) -> list[tuple[Job, int]]:
    return [(slot.job, slot.number) for slot in queue.take(tokens)]


def test_windows_are_taken_in_order_and_under_the_budget() -> None:
    queue = WindowQueue()
    first, second = job(10, 10, 10), job(10, 10)
    assert queue.put(first)
    assert queue.put(second)
    assert taken(queue, 25) == [(first, 0), (first, 1)]
    assert taken(queue, 25) == [(first, 2), (second, 0)]
    assert taken(queue, 25) == [(second, 1)]


def test_a_window_above_the_budget_is_taken_alone() -> None:
    queue = WindowQueue()
    large, small = job(100), job(5)
    queue.put(small)
    queue.put(large)
    assert taken(queue, 50) == [(small, 0)]
    assert taken(queue, 50) == [(large, 0)]


def test_nothing_small_overtakes_something_large() -> None:
    """Or what is large could starve."""
    queue = WindowQueue()
    large, small = job(30), job(5)
    queue.put(job(30))
    queue.put(large)
    queue.put(small)
    queue.take(40)
    assert taken(queue, 40) == [(large, 0), (small, 0)]


def test_abandoned_jobs_are_passed_over() -> None:
    queue = WindowQueue()
    gone, waiting = job(10, 10), job(10)
    queue.put(gone)
    queue.put(waiting)
    gone.abandoned = True
    assert taken(queue, 100) == [(waiting, 0)]
    assert gone.started is None
    assert waiting.started is not None


def test_a_closed_queue_is_emptied_and_then_ends() -> None:
    queue = WindowQueue()
    waiting = job(10)
    queue.put(waiting)
    assert queue.close() == [waiting]
    assert not queue.put(job(10))
    assert taken(queue, 100) == [(waiting, 0)]
    assert queue.take(100) == []


def test_who_waits_for_windows_is_woken() -> None:
    queue = WindowQueue()
    found: list[list[tuple[Job, int]]] = []
    thread = threading.Thread(target=lambda: found.append(taken(queue, 100)))
    thread.start()
    late = job(10)
    queue.put(late)
    thread.join(60)
    assert found == [[(late, 0)]]


def test_the_last_window_gives_the_answer_in_order() -> None:
    async def run() -> list[float]:
        one = Job.of([window(5), window(5), window(5)])
        for number in (2, 0, 1):
            assert not one.answer.done()
            threading.Thread(target=one.deliver, args=(number, output(number / 10))).start()
            await asyncio.sleep(0.05)
        return [found.relevance for found in await asyncio.wait_for(one.answer, 60)]

    assert asyncio.run(run()) == [0.0, 0.1, 0.2]


def test_an_error_comes_once_and_answers_after_it_are_ignored() -> None:
    async def run() -> str:
        one = Job.of([window(5)])
        one.fail(ValueError("broken"))
        one.deliver(0, output(0.5))
        one.fail(ValueError("again"))
        try:
            await asyncio.wait_for(one.answer, 60)
        except ValueError as error:
            return str(error)
        return "no error"

    assert asyncio.run(run()) == "broken"


def test_an_answer_for_a_loop_that_has_ended_is_dropped() -> None:
    async def make() -> Job:
        return Job.of([window(5)])

    orphan = asyncio.run(make())
    orphan.deliver(0, output(0.5))
    assert orphan.abandoned
