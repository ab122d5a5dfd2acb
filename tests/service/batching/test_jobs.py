"""The queue of windows: jobs in turn, under a budget of tokens."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.models.encoding import Window
from secateur.models.errors import InputError
from secateur.models.merging import WindowOutput
from secateur.service.batching import jobs
from secateur.service.batching.admission import Admission, Load
from secateur.service.batching.jobs import Job, Slot, WindowQueue
from secateur.service.errors import AbandonedError


def window(tokens: int) -> Window:
    return Window(np.zeros(tokens, np.int32), 1, 1, np.zeros(tokens - 1, np.int32))


def output(relevance: float) -> WindowOutput:
    return WindowOutput(relevance, np.zeros(1, np.float32))


def job(*lengths: int) -> Job:
    made = Job(Admission(1000, 100).reserve(Load(len(lengths), sum(lengths)), 30.0))
    made.windows = [window(length) for length in lengths]
    return made


def number(slot: Slot) -> int:
    return next(number for number, window in enumerate(slot.job.windows) if window is slot.window)


def taken(queue: WindowQueue, tokens: int) -> list[tuple[Job, int]]:
    return [(slot.job, number(slot)) for slot in queue.take(tokens)]


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


def test_a_large_job_gives_others_their_turn_after_each_step() -> None:
    queue = WindowQueue()
    large, small, other = job(*[30] * 4), job(10), job(10)
    queue.put(large)
    queue.put(small)
    assert taken(queue, 60) == [(large, 0), (large, 1)]
    queue.put(other)
    assert taken(queue, 60) == [(small, 0), (large, 2)]
    assert taken(queue, 60) == [(large, 3), (other, 0)]


def test_a_job_that_fits_a_step_is_done_in_its_turn_though_steps_end_within() -> None:
    queue = WindowQueue()
    large, first, second = job(*[10] * 9), job(10, 10), job(10, 10, 10)
    for each in (large, first, second):
        queue.put(each)
    assert taken(queue, 30) == [(large, 0), (large, 1), (large, 2)]
    assert taken(queue, 30) == [(first, 0), (first, 1), (second, 0)]
    assert taken(queue, 30) == [(second, 1), (second, 2), (large, 3)]


def test_who_got_nothing_keeps_its_turn() -> None:
    """Or what is large could starve."""
    queue = WindowQueue()
    large, small = job(30), job(5)
    queue.put(job(30))
    queue.put(large)
    queue.put(small)
    queue.take(40)
    assert taken(queue, 40) == [(large, 0), (small, 0)]


def test_nobody_starves_though_small_jobs_keep_coming() -> None:
    queue = WindowQueue()
    large = job(*[30] * 10)
    queue.put(large)
    steps = 0
    while large.taken < 10:
        for _ in range(8):
            queue.put(job(20))  # twice what a step holds
        queue.take(80)
        steps += 1
        assert steps < 1000


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), max_size=8), st.integers(1, 100))
def test_every_window_is_taken_once_and_in_order(lengths: list[list[int]], step: int) -> None:
    queue = WindowQueue()
    jobs = [job(*each) for each in lengths]
    for each in jobs:
        queue.put(each)
    queue.close()
    found: dict[Job, list[int]] = {each: [] for each in jobs}
    while slots := queue.take(step):
        assert len(slots) == 1 or sum(len(slot.window) for slot in slots) <= step
        for slot in slots:
            found[slot.job].append(number(slot))
    assert [found[each] for each in jobs] == [list(range(len(each.windows))) for each in jobs]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.integers(1, 100))
def test_a_job_waits_for_one_turn_of_each_that_came_before(sizes: list[int], own: int) -> None:
    """What `Admission` counts on."""
    queue = WindowQueue()
    jobs = [job(*[1] * size) for size in [*sizes, own]]
    for each in jobs:
        queue.put(each)
    until_done = 0
    while jobs[-1].taken < own:
        until_done += len(queue.take(100))
    assert until_done <= sum(min(size, 100) for size in sizes) + own + 100  # a step ends behind it


def test_units_are_bounded_and_who_has_gone_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_MAX_UNITS", 10)
    one = job(10)
    one.watch(4)
    one.watch(6)
    with pytest.raises(InputError, match="more than 10 units"):
        one.watch(1)
    other = job(10)
    other.abandoned = True
    with pytest.raises(AbandonedError):
        other.watch(0)


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
    queue.close()
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
    one = job(5, 5, 5)
    for relevance in (0.0, 0.1, 0.2):
        assert not one.answer.done()
        one.deliver(output(relevance))
    assert [found.relevance for found in one.answer.result(0)] == [0.0, 0.1, 0.2]


def test_an_error_comes_once_and_answers_after_it_are_ignored() -> None:
    one = job(5)
    one.fail(ValueError("broken"))
    one.deliver(output(0.5))
    one.fail(ValueError("again"))
    with pytest.raises(ValueError, match="broken"):
        one.answer.result(0)


def test_an_answer_for_a_loop_that_has_ended_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    orphan = job(5)

    async def begin() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(orphan.answer))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(begin())
    orphan.deliver(output(0.5))
    assert not caplog.records


def test_a_job_that_has_its_answer_keeps_it_when_the_engine_dies() -> None:
    """It may not have been awaited yet: what is left of it is done all the same."""
    one, answer = job(3), output(0.5)
    one.deliver(answer)
    one.fail(RuntimeError("the engine has died"))
    assert one.answer.result() == [answer]
    assert not one.abandoned
