"""API keys and passwords: what an HTTP header can carry of them, and how they are kept out of all that is shown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

_HIDDEN = "[hidden]"
_SHORT = 8  # characters; below, a secret is hidden only where it is a word of its own
_SHORTEST = 4  # characters; below, it is no secret, and part of any text
_USERINFO = re.compile(r"^((?:[a-z][a-z0-9+.-]*:)?//)?.*@", re.IGNORECASE | re.DOTALL)


def header_key(value: object, field: str = "api_key") -> str | None:
    """Return an API key without the white space around it, or None for none and for an empty one.

    Args:
        value: as it was given.
        field: how to name it in errors.

    Raises:
        InputError: it is not a string, or an HTTP header cannot carry it. The message does not show it.
    """
    from secateur.models.errors import InputError

    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(field, f"is not a string but of type {type(value).__name__}", "give the key as a string")
    key = value.strip()
    if not (key.isascii() and key.isprintable()):
        problem = "has characters that an HTTP header cannot carry (the key is not shown)"
        raise InputError(field, problem, "remove line breaks, control characters and characters beyond ASCII from it")
    return key or None


def public_url(url: str) -> str:
    """Return an address, which may be malformed, without its secrets: user, password, query and fragment."""
    return re.split(r"[?#]", _USERINFO.sub(r"\1", url), maxsplit=1)[0]


def basic_authorization(url: str) -> str | None:
    """Return the header value for the user and password in an address, or None if there are none."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def secrets_of(url: str) -> tuple[str, ...]:
    """Return what must not be shown of an address: its password and both as a header carries them."""
    parts = urlsplit(url)
    header = basic_authorization(url)
    # A user without a password is often a token.
    raw = parts.password or parts.username
    return tuple(text for text in (raw, unquote(raw or ""), header and header.removeprefix("Basic ")) if text)


class Redaction:
    """Takes secrets out of texts, for a server may repeat in its answer what it was sent.

    Args:
        secrets: keys, passwords and header values.
    """

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        # JSON and repr write quotes and backslashes in other ways.
        forms = {f for s in secrets if len(s) >= _SHORTEST for f in (s, json.dumps(s)[1:-1], repr(s)[1:-1])}
        patterns = [
            re.escape(form) if len(form) >= _SHORT else rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._pattern.sub(_HIDDEN, text) if self._pattern is not None else text
