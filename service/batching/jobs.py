"""Requests inside an engine: the queue of their windows, and the threads for the work beside the network."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from secateur.models.encoding import Window
from secateur.models.errors import InputError
from secateur.models.merging import WindowOutput
from secateur.service.batching.admission import Reservation
from secateur.service.errors import AbandonedError

_MAX_UNITS = 250_000  # of a request
_LONG_TOKENS = 16_384  # a request with more runs in threads of its own, where it keeps no short one waiting

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Job:
    """One request inside the engine."""

    reservation: Reservation  # held by everyone who works on the job
    abandoned: bool = False  # nobody waits for the answer; remaining work is skipped
    started: float | None = None  # `time.perf_counter` when the first window was taken
    windows: Sequence[Window] = ()
    taken: int = 0  # windows that were taken from the queue
    turn: int = 0  # tokens of the windows that were taken in the current turn
    answer: Future[list[WindowOutput]] = field(default_factory=Future)  # outputs of the windows, in order
    _outputs: list[WindowOutput] = field(default_factory=list)
    _units: int = 0

    def watch(self, units: int) -> None:
        """Count units found in the passages; refuse too many, and stop if nobody waits for the answer."""
        if self.abandoned:
            raise AbandonedError
        self._units += units
        if self._units > _MAX_UNITS:
            problem = f"have more than {_MAX_UNITS} units (sentences, list items) together"
            raise InputError("passages", problem, "split the request")

    def deliver(self, output: WindowOutput) -> None:
        """Receive the output of the next window; the last one completes the answer. Called from the engine's thread."""
        self._outputs.append(output)
        if len(self._outputs) == len(self.windows):
            with suppress(InvalidStateError):  # nobody waits any more
                self.answer.set_result(self._outputs)

    def fail(self, error: BaseException) -> None:
        """Set an error instead of an answer, from any thread. A job that has its answer keeps it."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)
            self.abandoned = True


class Slot(NamedTuple):
    """One window of a job."""

    job: Job
    window: Window


class WindowQueue:
    """Windows of the jobs, in turns: a job that has had as many tokens as a step holds goes to the back. Thread-safe.

    So jobs that fit into a step are served in order of arrival. A new job waits for at most one step of each earlier
    job, and a large job gets its turn whatever arrives after it.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> bool:
        """Append a job; return False if the queue is closed."""
        with self._changed:
            if self._closed:
                return False
            self._jobs.append(job)
            self._changed.notify()
            return True

    def take(self, tokens: int) -> list[Slot]:
        """Wait for windows, and return as many as fit into a number of tokens, but at least one.

        Windows of abandoned jobs are skipped. There are none once the queue is closed and empty.
        """
        with self._changed:
            while not (taken := self._first(tokens)) and not self._closed:
                self._changed.wait()
            return taken

    def _first(self, tokens: int) -> list[Slot]:
        taken: list[Slot] = []
        room = tokens
        while self._jobs:
            job = self._jobs[0]
            if job.abandoned or job.taken == len(job.windows):
                self._jobs.popleft()
                continue
            window = job.windows[job.taken]
            cost = len(window)
            if taken and cost > room:
                break
            taken.append(Slot(job, window))
            room -= cost
            job.started = job.started or time.perf_counter()
            job.taken += 1
            job.turn += cost
            if job.turn >= tokens:
                job.turn = 0
                self._jobs.rotate(-1)
        return taken

    def close(self) -> None:
        """Accept no more jobs. The remaining windows can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Threads:
    """Threads for checking, segmenting, encoding and selecting: one pool for short requests and one for long ones."""

    def __init__(self, name: str) -> None:
        self.workers = min(4, os.cpu_count() or 1)
        self._short = ThreadPoolExecutor(self.workers, f"secateur-short-{name}")
        self._long = ThreadPoolExecutor(max(1, self.workers // 2), f"secateur-long-{name}")

    async def run(self, job: Job, work: Callable[[], T]) -> T:
        """Run a part of a job. If the job is abandoned, the part does not start, or stops at its next `Job.watch`.

        The job's reservation is held until the work has really ended.
        """

        def held() -> T:
            with job.reservation:
                job.watch(0)
                return work()

        pool = self._long if job.reservation.load.tokens > _LONG_TOKENS else self._short
        return await asyncio.get_running_loop().run_in_executor(pool, held)

    async def close(self) -> None:
        """Wait for running work, and end the threads."""
        for pool in (self._short, self._long):
            await asyncio.to_thread(pool.shutdown)
