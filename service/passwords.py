"""Passwords in URLs and files: found, hidden, and read."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from secateur.models.errors import InputError

_HIDDEN = "***"
_MAX_BYTES = 65_536  # of a file with a password
# Greedy: what looks like a password may have an @ of its own. Everything behind a question mark may be a password, too.
_USER = re.compile(r"^([^/@]*//)?.*@", re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)


def without_password(url: str) -> str:
    """Return a URL, or what was to be one, without its user, password and query."""
    return _QUERY.sub(f"?{_HIDDEN}", _USER.sub(rf"\1{_HIDDEN}@", url))


def has_password(url: str) -> bool:
    """Return whether a URL holds a password; of one that cannot be read, whether it could."""
    if "://" not in url:
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:
        return "@" in url


def read_password(file: Path) -> str:
    """Return what a file holds, without the end of its line.

    Raises:
        InputError: it cannot be read, or it is empty.
    """
    hint = "name a file that holds the password"
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise InputError("redis_password_file", f"{file} cannot be read ({error.strerror})", hint) from None
    except UnicodeDecodeError:
        raise InputError("redis_password_file", f"{file} is not UTF-8 text", hint) from None
    if not text:
        raise InputError("redis_password_file", f"{file} is empty", hint)
    return text
