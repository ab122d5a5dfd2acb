"""API keys and passwords: what an HTTP header can carry, and how to keep them out of messages and logs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from secateur.models.errors import InputError

_HIDDEN = "[hidden]"
_SHORT = 8  # characters; a shorter secret is hidden only where it is a word of its own
_SHORTEST = 4  # characters; a shorter text is not treated as a secret
_USERINFO = re.compile(r"^((?:[a-z][a-z0-9+.-]*:)?//)?.*@", re.IGNORECASE | re.DOTALL)


def header_key(value: object, field: str = "api_key") -> str | None:
    """Return an API key without surrounding white space; None for an empty one.

    Raises:
        InputError: It is not a string, or an HTTP header cannot carry it. The message names the field, not the key.
    """
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
    """Return a URL, which may be malformed, without user, password, query and fragment."""
    return re.split(r"[?#]", _USERINFO.sub(r"\1", url), maxsplit=1)[0]


def basic_authorization(url: str) -> str | None:
    """Return the header value for the user and password in a URL; None if there are none."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the secrets in a URL: the password, or a user without one (often a token), and their header value."""
    parts = urlsplit(url)
    header = basic_authorization(url)
    raw = parts.password or parts.username
    return tuple(text for text in (raw, unquote(raw or ""), header and header.removeprefix("Basic ")) if text)


class Redaction:
    """Removes secrets from texts, because a server may repeat in its response what it was sent.

    Args:
        secrets: Keys, passwords and header values.
    """

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        # JSON and repr escape quotes and backslashes.
        forms = {f for s in secrets if len(s) >= _SHORTEST for f in (s, json.dumps(s)[1:-1], repr(s)[1:-1])}
        patterns = [
            re.escape(form) if len(form) >= _SHORT else rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._pattern.sub(_HIDDEN, text) if self._pattern is not None else text
