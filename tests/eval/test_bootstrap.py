from __future__ import annotations

import numpy as np
import pytest

from secateur.eval.bootstrap import interval, paired_difference, query_weights, ratio, value, weighted_mean


def test_the_first_row_is_the_sample_and_every_row_draws_as_many() -> None:
    weights = query_weights("squad", 50, resamples=200)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 50).all()
    assert weights.shape == (201, 50)


def test_weights_depend_on_source_and_size_alone() -> None:
    assert (query_weights("a", 10) == query_weights("a", 10)).all()
    assert (query_weights("a", 10) != query_weights("b", 10)).any()


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """95% intervals of the mean of 60 draws: about 95 of 100 hold the true mean (88 or fewer: once in 200 runs)."""
    rng = np.random.default_rng(0)
    held = 0
    for run in range(100):
        ends = interval(weighted_mean(rng.exponential(1.0, 60), query_weights(str(run), 60)))
        assert ends is not None
        held += ends[0] <= 1.0 <= ends[1]
    assert 88 < held <= 100


def test_a_paired_difference_sees_what_separate_intervals_do_not() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0.5, 0.3, 200)  # queries differ a lot, the systems by little, but always alike
    weights = query_weights("paired", 200)
    a, b = weighted_mean(hard + 0.02, weights), weighted_mean(hard + rng.normal(0, 0.02, 200), weights)
    found = paired_difference(a, b)
    assert found is not None
    assert found.significant
    assert found.p < 0.05
    ends_a, ends_b = interval(a), interval(b)
    assert ends_a is not None and ends_b is not None
    assert ends_a[0] < ends_b[1]


def test_equal_systems_do_not_differ() -> None:
    figure = weighted_mean(np.arange(20.0), query_weights("same", 20))
    found = paired_difference(figure, figure)
    assert found is not None
    assert not found.significant
    assert found.p == 1.0


def test_what_is_undefined_has_no_value() -> None:
    empty = weighted_mean(np.array([np.nan, np.nan]), query_weights("none", 2))
    assert value(empty) is None
    assert interval(empty) is None
    assert paired_difference(empty, empty) is None
    assert np.isnan(ratio(np.array([1.0]), np.array([0.0]))[0])


def test_queries_without_a_value_are_left_out() -> None:
    assert value(weighted_mean(np.array([1.0, np.nan, 3.0]), query_weights("some", 3))) == pytest.approx(2.0)
