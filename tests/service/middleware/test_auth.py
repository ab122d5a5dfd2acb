"""Wrong keys are counted, in bounded memory, and cost nobody else the way in."""

from __future__ import annotations

import pytest

from secateur.service.middleware import auth
from secateur.service.middleware.auth import RateLimiter, WrongKeys, client_of


def test_after_many_wrong_keys_no_new_key_is_tried() -> None:
    guesses = WrongKeys()
    assert guesses.may_try("192.0.2.1", "known")
    tried = [guesses.may_try("192.0.2.1", None) for _ in range(100)]
    assert tried == [True] * 30 + [False] * 70
    assert not guesses.may_try("192.0.2.1", "guessed")  # nobody learns that it was right
    assert guesses.may_try("192.0.2.1", "known")  # who shares the address goes on
    assert guesses.may_try("192.0.2.2", "guessed")
    assert 1 <= guesses.limiter.exceeded("wrong API keys", "192.0.2.1").retry_after_s <= 60


def test_many_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_MAX_COUNTERS", 50)
    monkeypatch.setattr(auth, "_MAX_KNOWN", 50)
    guesses = WrongKeys()
    for number in range(500):
        assert guesses.may_try(f"192.0.2.{number}", None)
        assert guesses.may_try(f"198.51.100.{number}", "key")
    assert len(guesses.limiter._storage.storage) <= 51
    assert len(guesses.known) == 50


def test_a_rate_says_what_it_is() -> None:
    assert str(RateLimiter("600/minute").exceeded("requests", "a")).startswith("more than 600 requests per minute; ")
    assert str(RateLimiter("5/2hours").exceeded("requests", "a")).startswith("more than 5 requests per 2 hours; ")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_network_of_ipv6_is_one_client(address: str, expected: str) -> None:
    assert client_of(address) == expected
