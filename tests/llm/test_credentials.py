"""Keys and addresses: what a header can carry, and what of them may be shown."""

from __future__ import annotations

import json
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur import InputError
from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of


@pytest.mark.parametrize(
    "given_key", ["sk-1", " sk-1", "sk-1 ", "sk-1\n", "\r\n\t sk-1\r\n", "\u00a0sk-1\u2003", "sk-1\x1f"]
)
def test_white_space_around_a_key_is_left_out(given_key: str) -> None:
    assert header_key(given_key) == "sk-1"


@pytest.mark.parametrize("given_key", [None, "", " ", "\n\t\u00a0"])
def test_an_empty_key_is_none(given_key: str | None) -> None:
    assert header_key(given_key) is None


@pytest.mark.parametrize(
    "given_key",
    [
        "sk-1\nsk-1",
        "sk-1\r\nX: sk-1",
        "sk\x00-1",
        "\x00sk-1",
        "sk-1\x7f",
        "sk-\u00e91",
        "\ufeffsk-1",
        "sk\u200b-1",
        "sk-\ud8001",
        b"sk-1",
        ["sk-1"],
        1,
    ],
)
def test_what_no_header_can_carry_is_refused_and_not_shown(given_key: Any) -> None:
    with pytest.raises(InputError) as info:
        header_key(given_key, "my_key")
    assert info.value.field == "my_key" and info.value.__context__ is None
    assert "sk" not in str(info.value)


@given(st.text() | st.text(st.characters(max_codepoint=127)))
def test_a_key_that_is_taken_can_be_sent(text: str) -> None:
    try:
        key = header_key(text)
    except InputError as error:
        assert len(text) < 4 or text not in str(error)
        return
    if key is not None:
        h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Authorization", f"Bearer {key}")])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:8/v1", "https://host:8/v1"),
        ("https://me:secret@host:8/v1?key=secret#secret", "https://host:8/v1"),
        ("https://me:sec@ret@host", "https://host"),
        ("https://me:se/cr?e#t@host", "https://host"),
        ("http://token@host", "http://host"),
        ("htp://me:secret@host", "htp://host"),
        ("me:secret@host", "host"),
        ("//me:secret@host", "//host"),
        ("http:/me:secret@host", "host"),
        ("http://me:secret@[::1", "http://[::1"),
        ("http://me:secret@", "http://"),
        ("host?secret", "host"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown


@given(st.text(), st.text(), st.text())
def test_whatever_the_password_it_is_not_shown(user: str, password: str, host: str) -> None:
    assert public_url(f"http://{user}:{password}@{host}") == public_url(f"http://{host}")


def test_a_user_and_a_password_make_a_header() -> None:
    assert basic_authorization("http://host") is None
    assert basic_authorization("http://me:pa%40ss@host") == "Basic bWU6cGFAc3M="
    assert secrets_of("http://host") == ()
    assert set(secrets_of("http://me:pa%40ss@host")) == {"pa%40ss", "pa@ss", "bWU6cGFAc3M="}
    assert "a-token" in secrets_of("http://a-token@host")


def test_secrets_are_taken_out_of_texts() -> None:
    hide = Redaction(["sk-secret-123", "sk-secret-123-longer", 'a"quote\\d', "pass", "abc"])
    assert hide("x sk-secret-123 sk-secret-123-longer y") == "x [hidden] [hidden] y"
    assert hide(json.dumps('a"quote\\d') + repr('a"quote\\d')).count("[hidden]") == 2
    assert hide("pass passthrough pass:abc") == "[hidden] passthrough [hidden]:abc"
    assert Redaction([])("text") == "text"
