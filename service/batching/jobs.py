"""Requests on their way through an engine, and the queue in which their windows wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from secateur.models.encoding import Window
from secateur.models.merging import WindowOutput


@dataclass(eq=False, slots=True)
class Job:
    """The windows of one request that wait for the network.

    Attributes:
        windows: to be run.
        answer: their outputs, in order; awaited in ``loop``.
        loop: of whoever waits.
        abandoned: nobody waits for the answer any more; what has not run is not run.
        started: `time.perf_counter` when the first window was taken; None before.
    """

    windows: Sequence[Window]
    answer: asyncio.Future[list[WindowOutput]]
    loop: asyncio.AbstractEventLoop
    abandoned: bool = False
    started: float | None = None
    outputs: dict[int, WindowOutput] = field(default_factory=dict)

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Job:
        """Make a job that is awaited in the running event loop."""
        loop = asyncio.get_running_loop()
        return cls(windows, loop.create_future(), loop)

    def deliver(self, number: int, output: WindowOutput) -> None:
        """Take the output of a window; the last one gives the answer. From the engine's thread."""
        self.outputs[number] = output
        if len(self.outputs) == len(self.windows):
            self._give(lambda: self.answer.set_result([self.outputs[n] for n in range(len(self.windows))]))

    def fail(self, error: BaseException) -> None:
        """Give an error instead of an answer, from any thread."""
        self.abandoned = True
        self._give(lambda: self.answer.set_exception(error))

    def _give(self, answer: Callable[[], None]) -> None:
        def unless_done() -> None:
            if not self.answer.done():
                answer()

        try:
            self.loop.call_soon_threadsafe(unless_done)
        except RuntimeError:  # the loop has ended, and with it whoever waited
            self.abandoned = True


class Slot(NamedTuple):
    """One window of a job."""

    job: Job
    number: int

    @property
    def window(self) -> Window:
        """The window itself."""
        return self.job.windows[self.number]


class WindowQueue:
    """Windows in the order in which their jobs came: first come, first served. Thread-safe."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Job, int]] = deque()  # with the number of the first window that was not taken
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> bool:
        """Append a job; False if the queue is closed."""
        with self._changed:
            if self._closed:
                return False
            self._jobs.append((job, 0))
            self._changed.notify()
            return True

    def take(self, tokens: int) -> list[Slot]:
        """Wait for windows and take the first ones, as many as fit the tokens and at least one.

        Windows of abandoned jobs are passed over.

        Returns:
            Nothing once the queue is closed and empty.
        """
        with self._changed:
            while not (taken := self._first(tokens)) and not self._closed:
                self._changed.wait()
            return taken

    def _first(self, tokens: int) -> list[Slot]:
        taken: list[Slot] = []
        while self._jobs:
            job, first = self._jobs.popleft()
            if job.abandoned:
                continue
            job.started = job.started or time.perf_counter()
            for number in range(first, len(job.windows)):
                cost = len(job.windows[number])
                if taken and cost > tokens:
                    self._jobs.appendleft((job, number))
                    return taken
                taken.append(Slot(job, number))
                tokens -= cost
        return taken

    def close(self) -> list[Job]:
        """Take no more jobs; return those that still have windows here, which stay to be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return [job for job, _ in self._jobs]
