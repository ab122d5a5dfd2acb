from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.race import PROBE, race
from benchmarks.workload import BenchRequest

REQUESTS = [BenchRequest(f"q{n}", tuple(f"p{k}" for k in range(10))) for n in range(4)]


class Clock:
    """A clock that stands still but for the work that is told to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, str, int]] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Worker:
    """Takes some seconds a passage."""

    precision = "fp32"

    def __init__(self, clock: Clock, name: str, per_passage: float) -> None:
        self.clock, self.name, self.per_passage = clock, name, per_passage

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        def run() -> None:
            self.clock.calls.append((self.name, request.query, len(request.passages)))
            self.clock.now += self.per_passage * len(request.passages)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("benchmarks.race.time", clock)
    return clock


def test_contestants_take_turns_and_change_places(clock: Clock) -> None:
    results = race({name: Worker(clock, name, 0.1) for name in "abc"}, REQUESTS, budget_s=60)
    timed = clock.calls[-9:]
    assert [name for name, _, _ in timed] == [*"abc", *"bca", *"cab"]
    assert [query for _, query, _ in timed] == ["q1"] * 3 + ["q2"] * 3 + ["q3"] * 3
    assert results["b"].timing.seconds == pytest.approx((1.0, 1.0, 1.0))
    assert not results["b"].skipped


def test_only_the_first_request_warms_up(clock: Clock) -> None:
    race({"a": Worker(clock, "a", 0.1)}, REQUESTS, budget_s=60)
    assert clock.calls[:3] == [("a", "q0", PROBE), ("a", "q0", PROBE), ("a", "q0", 10)]


def test_who_is_slow_stops_when_its_budget_is_spent(clock: Clock) -> None:
    workers = {"fast": Worker(clock, "fast", 0.1), "slow": Worker(clock, "slow", 1.0)}
    results = race(workers, REQUESTS, budget_s=25)
    assert len(results["fast"].timing.seconds) == 3
    assert len(results["slow"].timing.seconds) == 2


def test_who_cannot_finish_one_call_is_not_run_and_it_is_said(clock: Clock) -> None:
    workers = {"fast": Worker(clock, "fast", 0.1), "slow": Worker(clock, "slow", 9.0)}
    results = race(workers, REQUESTS, budget_s=25)
    assert results["slow"].timing.seconds == ()
    assert results["slow"].skipped == "not run: a call would take about 90 s, and the budget is 25 s"
    assert max(passages for name, _, passages in clock.calls if name == "slow") == PROBE


def test_a_request_smaller_than_the_probe(clock: Clock) -> None:
    one = [BenchRequest("q", ("p",))] * 2
    assert race({"a": Worker(clock, "a", 2.0)}, one, budget_s=3)["a"].timing.seconds == pytest.approx((2.0,))
