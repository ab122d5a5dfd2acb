"""Requests on their way through an engine, and the queue in which their windows wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from secateur.models.encoding import Window
from secateur.models.errors import InputError
from secateur.models.merging import WindowOutput
from secateur.service.batching.admission import Reservation


class AbandonedError(Exception):
    """Nobody waits for this work any more, so it was stopped."""


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the engine.

    Attributes:
        reservation: held by whoever works on it.
        max_units: that its passages may have together.
        abandoned: nobody waits for the answer any more; what has not run is not run.
        started: `time.perf_counter` when the first window was taken; None before.
        windows: to be run.
        taken: how many of them the queue has given out.
        turn: tokens of those that it has given out in the job's turn.
        answer: the outputs of the windows, in order.
    """

    reservation: Reservation
    max_units: int
    abandoned: bool = False
    started: float | None = None
    windows: Sequence[Window] = ()
    taken: int = 0
    turn: int = 0
    answer: Future[list[WindowOutput]] = field(default_factory=Future)
    _outputs: dict[int, WindowOutput] = field(default_factory=dict)
    _units: int = 0

    def watch(self, units: int) -> None:
        """Take note of units that were found in the passages. From the thread that looks for them.

        Raises:
            AbandonedError: nobody waits any more.
            InputError: there are too many.
        """
        if self.abandoned:
            raise AbandonedError
        self._units += units
        if self._units > self.max_units:
            raise InputError(
                "passages",
                f"have more than {self.max_units} units (sentences, list items) together",
                "send fewer, or several requests",
            )

    def deliver(self, number: int, output: WindowOutput) -> None:
        """Take the output of a window; the last one gives the answer. From the engine's thread."""
        self._outputs[number] = output
        if len(self._outputs) == len(self.windows):
            with suppress(InvalidStateError):  # whoever waited has gone
                self.answer.set_result([self._outputs[n] for n in range(len(self.windows))])

    def fail(self, error: BaseException) -> None:
        """Give an error instead of an answer, from any thread. A job that has its answer already keeps it."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)
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
    """Windows of the jobs in turn: one that has had as many tokens as a step holds goes to the back. Thread-safe.

    So jobs that fit a step are served in the order in which they came; a new one waits for no more than a step of each
    that came before, and a large one gets its turn whatever comes after it.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> bool:
        """Append a job; False if the queue is closed."""
        with self._changed:
            if self._closed:
                return False
            self._jobs.append(job)
            self._changed.notify()
            return True

    def take(self, tokens: int) -> list[Slot]:
        """Wait for windows and take as many as fit the tokens, at least one.

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
        room = tokens
        while self._jobs:
            job = self._jobs[0]
            if job.abandoned or job.taken == len(job.windows):
                self._jobs.popleft()
                continue
            cost = len(job.windows[job.taken])
            if taken and cost > room:
                break
            taken.append(Slot(job, job.taken))
            room -= cost
            job.started = job.started or time.perf_counter()
            job.taken += 1
            job.turn += cost
            if job.turn >= tokens:
                job.turn = 0
                self._jobs.rotate(-1)
        return taken

    def close(self) -> list[Job]:
        """Take no more jobs; return those that still have windows here, which stay to be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return list(self._jobs)
