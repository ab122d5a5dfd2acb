"""Timing contestants in turn on the same requests, each within a time budget."""

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
"""Passages of the calls that estimate the time of a whole call."""
# The threads of a runtime spin for some milliseconds after a call, on the processors of the next contestant.
_SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a contestant on one workload.

    Attributes:
        timing: Seconds of its calls: the first ones, where its budget ran out.
        skipped: Reason why there are no calls; empty if there are.
    """

    timing: Timing
    skipped: str = ""


@dataclass(slots=True)
class _Runner:
    """A contestant in a race."""

    name: str
    loaded: Loaded
    seconds: list[float] = field(default_factory=list)
    skipped: str = ""

    def continues(self, round_number: int, budget_s: float) -> bool:
        """Whether it has run every round so far, and one more fits its budget."""
        if self.skipped or len(self.seconds) < round_number:
            return False
        return not self.seconds or sum(self.seconds) + statistics.median(self.seconds) <= budget_s

    def warm_up(self, request: BenchRequest, budget_s: float) -> None:
        """Call it on a few passages and, if that is cheap, on all; skip it if a whole call does not fit."""
        expected = expected_seconds(self.loaded, request)
        self.skipped = over_budget(expected, budget_s)
        if expected * 2 <= budget_s:
            self.loaded.prepare(request)()


def over_budget(expected: float, budget_s: float) -> str:
    """Return the reason not to run a contestant whose call takes that long; empty if it fits."""
    if expected <= budget_s:
        return ""
    return f"not run: a call would take about {expected:.0f} s, and the budget is {budget_s:g} s"


def _characters(request: BenchRequest) -> int:
    return sum(map(len, request.passages))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def expected_seconds(loaded: Loaded, request: BenchRequest) -> float:
    """Return roughly how long a call takes, from a call on its first passages."""
    probe = request.first(PROBE)
    few = loaded.prepare(probe)
    few()  # the first call builds caches
    return _seconds(few) * _characters(request) / _characters(probe)


def race(contestants: Mapping[str, Loaded], requests: Sequence[BenchRequest], budget_s: float) -> dict[str, Result]:
    """Time contestants in turn, so that other load on the machine affects all of them.

    The order rotates from round to round. All run the same request in a round; the first request only warms up.

    Args:
        contestants: Contestants by name.
        requests: One request to warm up, then one per round.
        budget_s: Seconds for the timed calls of a contestant; the first call is always made.

    Returns:
        A result for each contestant, in the given order.
    """
    runners = [_Runner(name, loaded) for name, loaded in contestants.items()]
    for runner in runners:
        runner.warm_up(requests[0], budget_s)
    for number, request in enumerate(requests[1:]):
        turn = number % len(runners)
        for runner in runners[turn:] + runners[:turn]:
            if not runner.continues(number, budget_s):
                continue
            run = runner.loaded.prepare(request)
            time.sleep(_SETTLE_S)
            runner.seconds.append(_seconds(run))
            log.info("%s, round %d: %.2f s", runner.name, number + 1, runner.seconds[-1])
    return {runner.name: Result(Timing(runner.name, tuple(runner.seconds)), runner.skipped) for runner in runners}
