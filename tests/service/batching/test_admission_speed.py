"""How long work takes, learned from steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.service.batching.admission import Load, Speed

FULL = 4096
LOADS = st.builds(Load, st.integers(0, 10**6), st.integers(0, 10**9))
STEPS = st.lists(st.tuples(LOADS, st.floats(0, 1e4)), max_size=30)


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def true_seconds(load: Load) -> float:
    """What a step takes on a machine with a cost for each step, window and token."""
    return 2e-3 + 1e-3 * load.windows + 1e-4 * load.tokens


def speed_after(*steps: Load) -> Speed:
    speed = Speed(FULL, Clock())
    for load in steps:
        speed.measure(load, true_seconds(load))
    return speed


@given(STEPS, LOADS)
def test_an_estimate_is_finite_and_not_negative(steps: list[tuple[Load, float]], load: Load) -> None:
    speed = Speed(FULL)
    for ran, seconds in steps:
        speed.measure(ran, seconds)
    assert 0 <= speed.seconds(load) < math.inf


@given(STEPS, LOADS, st.integers(0, 1000), st.integers(0, 10**6))
def test_more_work_takes_no_less_time(steps: list[tuple[Load, float]], load: Load, windows: int, tokens: int) -> None:
    speed = Speed(FULL, Clock())
    for ran, seconds in steps:
        speed.measure(ran, seconds)
    assert speed.seconds(load) <= speed.seconds(Load(load.windows + windows, load.tokens + tokens))


def test_nothing_is_known_before_the_first_step() -> None:
    assert Speed(FULL).seconds(Load(10_000, 10**9)) == 0


@pytest.mark.parametrize("load", [Load(1, 12), Load(8, FULL), Load(200, FULL), Load(30, 600)])
def test_steps_of_one_kind_are_learned(load: Load) -> None:
    speed = speed_after(*[load] * 40)
    # As many such steps as fill ten full ones.
    many = Load(load.windows * 10 * FULL // load.tokens, 10 * FULL)
    ten_alone = 10 * FULL / load.tokens * true_seconds(load)
    assert speed.seconds(many) <= 1.01 * ten_alone
    if load.tokens == FULL:
        assert speed.seconds(many) == pytest.approx(ten_alone, rel=0.01)


def test_one_word_requests_say_nothing_wrong_about_large_ones() -> None:
    """As tokens a second they would make a large request thirty times as slow as it is."""
    full = Load(8, FULL)
    speed = speed_after(*[full] * 20, *[Load(1, 12)] * 60)
    assert speed.seconds(full) == pytest.approx(true_seconds(full), rel=0.1)
    assert speed_after(*[Load(1, 12)] * 60).seconds(full) < true_seconds(full)


def test_a_mix_is_learned() -> None:
    kinds = [Load(1, 12), Load(8, FULL), Load(200, FULL), Load(30, 600)]
    speed = speed_after(*kinds * 100)
    for load in (Load(8, FULL), Load(200, FULL), Load(60, FULL)):
        assert speed.seconds(load) == pytest.approx(true_seconds(load), rel=0.15)


def test_a_slow_step_is_soon_forgotten() -> None:
    full = Load(8, FULL)
    speed = speed_after(*[full] * 10)
    speed.measure(full, 20.0)
    for _ in range(6):
        speed.measure(full, true_seconds(full))
    assert speed.seconds(full) < 1.3 * true_seconds(full)


def test_a_slower_machine_is_noticed() -> None:
    full = Load(8, FULL)
    speed = speed_after(*[full] * 10)
    for _ in range(40):
        speed.measure(full, 3 * true_seconds(full))
    assert speed.seconds(full) == pytest.approx(3 * true_seconds(full), rel=0.05)


def test_what_was_measured_long_ago_fades() -> None:
    clock = Clock()
    speed = Speed(FULL, clock)
    speed.measure(Load(8, FULL), 1000.0)
    clock.now += 600
    assert speed.seconds(Load(8, FULL)) < 1
