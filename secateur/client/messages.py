"""What a service said, as errors and warnings show it: short, on one line, without secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secateur.models.errors import shown
from secateur.models.requests import replace_surrogates

Hide = Callable[[str], str]
"""Removes the secrets from a text."""

_SHOWN = 80  # characters of an answer that a message quotes
_LINE = 500  # characters of the service's own description of a problem
_SEARCHED = 1 << 16  # bytes that are searched for secrets before a quotation is cut


def one_line(text: str, hide: Hide) -> str:
    """Return a text of the service as one line for a log: shortened, without secrets and control characters."""
    line = " ".join(hide(replace_surrogates(text)).split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line[:_LINE])
    return line if len(line) < _LINE else f"{line[: _LINE - 3]}..."


def shown_value(value: object, hide: Hide) -> str:
    """Return the beginning of a value of an answer."""
    text = hide(repr(value)[:_SEARCHED])
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def quoted(content: bytes, hide: Hide) -> str:
    """Return the beginning of a body."""
    text = hide(content[:_SEARCHED].decode("utf-8", "replace"))
    return shown(text, _SHOWN) if text.strip() else "it is empty"


def without_secrets(value: Any, hide: Hide) -> Any:
    """Return a JSON value with every string in it searched for secrets."""
    match value:
        case str():
            return hide(replace_surrogates(value))
        case list():
            return [without_secrets(item, hide) for item in value]
        case dict():
            return {without_secrets(key, hide): without_secrets(item, hide) for key, item in value.items()}
    return value
