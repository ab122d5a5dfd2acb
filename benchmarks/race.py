"""Timing contestants in turn on the same requests, each within a budget of time."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.contestants.base import Loaded
from benchmarks.workload import BenchRequest, Timing

log = logging.getLogger(__name__)

PROBE = 2
"""Passages of the calls that tell how long a whole one would take."""
# Runtimes leave their threads spinning for some milliseconds after a call, on the processors of the next contestant.
_SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a contestant on one workload.

    Attributes:
        timing: seconds of its calls; the first ones, where its time was up before the others'.
        skipped: why there is none; empty if there is.
    """

    timing: Timing
    skipped: str = ""


@dataclass(slots=True)
class _Runner:
    """A contestant under way."""

    name: str
    loaded: Loaded
    seconds: list[float] = field(default_factory=list)
    skipped: str = ""

    def goes_on(self, round_number: int, budget_s: float) -> bool:
        """Whether it has run every round so far, and one more fits its budget."""
        if self.skipped or len(self.seconds) < round_number:
            return False
        return not self.seconds or sum(self.seconds) + statistics.median(self.seconds) <= budget_s

    def warm_up(self, request: BenchRequest, budget_s: float) -> None:
        """Call it on a few passages and, if that is cheap, on all; or find that a whole call does not fit."""
        expected = expected_seconds(self.loaded, request)
        if expected > budget_s:
            self.skipped = f"not run: a call would take some {expected:.0f} s, and its budget is {budget_s:g} s"
        elif expected * 2 <= budget_s:
            self.loaded.prepare(request)()


def _characters(request: BenchRequest) -> int:
    return sum(map(len, request.passages))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def expected_seconds(loaded: Loaded, request: BenchRequest) -> float:
    """Return about how long a call would take, from one on its first passages."""
    probe = request.first(PROBE)
    few = loaded.prepare(probe)
    few()  # what is made at the first call
    return _seconds(few) * _characters(request) / _characters(probe)


def race(contestants: Mapping[str, Loaded], requests: Sequence[BenchRequest], budget_s: float) -> dict[str, Result]:
    """Time contestants in turn, so that what else the machine does falls on all of them alike.

    Each has another place in every round. All run the same request in a round; the first request only warms up.

    Args:
        contestants: by name.
        requests: one a round, and one before them.
        budget_s: seconds of timed calls that a contestant may take, but for the first one.

    Returns:
        A result for each contestant, in the given order.
    """
    runners = [_Runner(name, loaded) for name, loaded in contestants.items()]
    for runner in runners:
        runner.warm_up(requests[0], budget_s)
    for number, request in enumerate(requests[1:]):
        turn = number % len(runners)
        for runner in runners[turn:] + runners[:turn]:
            if not runner.goes_on(number, budget_s):
                continue
            run = runner.loaded.prepare(request)
            time.sleep(_SETTLE_S)
            runner.seconds.append(_seconds(run))
            log.info("%s, round %d: %.2f s", runner.name, number + 1, runner.seconds[-1])
    return {runner.name: Result(Timing(runner.name, tuple(runner.seconds)), runner.skipped) for runner in runners}
