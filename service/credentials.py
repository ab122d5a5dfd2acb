"""API keys, and passwords in URLs and files."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from secateur.models.errors import InputError

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_KEY = re.compile(r"[\x21-\x7e]+")
_NAME_LENGTH = 8  # hexadecimal digits of a key's digest, which name it in logs
_MAX_PASSWORD_BYTES = 65_536
# Greedy: a malformed password may contain an @. Everything after a question mark may be a password, too.
_USER = re.compile(r"^([^/@]*//)?.*@", re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)


class Keys:
    """API keys from the settings and from a file that can be read again. Only their digests are stored.

    A key is given as itself, or as ``sha256:`` and its SHA-256 digest in hexadecimal. The file has one per line; blank
    lines and lines that start with # are ignored.

    Raises:
        InputError: The file cannot be read, or a key is invalid.
    """

    def __init__(self, keys: Iterable[str] = (), file: Path | None = None) -> None:
        self._own = [_digest(key, "api_keys") for key in keys]
        self._file = file
        self._digests = self._own + self._read()

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._digests)

    def reload(self) -> None:
        """Read the file again; if it is invalid, the keys do not change."""
        try:
            self._digests = self._own + self._read()
        except InputError as error:
            log.error("API keys not reloaded: %s", error)
        else:
            log.info("API keys reloaded: %d API keys are valid", len(self._digests))

    def name_of(self, key: bytes) -> str | None:
        """Return the name of a valid key, and None for any other, in constant time."""
        digest = sha256(key).digest()
        name = None
        for valid in self._digests:
            if hmac.compare_digest(valid, digest):
                name = valid.hex()[:_NAME_LENGTH]
        return name

    def _read(self) -> list[bytes]:
        if self._file is None:
            return []
        hint = "give a file with API keys"
        if self._file.exists() and not self._file.is_file():  # a pipe gives its content once, and then blocks
            raise InputError("api_keys_file", f"{self._file} cannot be read (not a regular file)", hint)
        lines = map(str.strip, _read_text(self._file, "api_keys_file", hint).splitlines())
        digests = [
            _digest(line, f"api_keys_file, line {number}")
            for number, line in enumerate(lines, 1)
            if line and not line.startswith("#")
        ]
        if not digests:
            raise InputError("api_keys_file", f"{self._file} contains no key", "add a key, or unset the setting")
        return digests


def _digest(key: str, field: str) -> bytes:
    if found := _DIGEST.fullmatch(key):
        return bytes.fromhex(found[1])
    if key.startswith("sha256:") or not _KEY.fullmatch(key):
        hint = "give printable ASCII without spaces, or sha256: and 64 lower-case hexadecimal digits"
        raise InputError(field, "is not a valid key", hint)
    return sha256(key.encode()).digest()


def _read_text(file: Path, field: str, hint: str, max_bytes: int = -1) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(max_bytes).decode("utf-8-sig")
    except OSError as error:
        raise InputError(field, f"{file} cannot be read ({error.strerror})", hint) from None
    except UnicodeDecodeError:
        raise InputError(field, f"{file} is not UTF-8 text", hint) from None


def given_keys(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the keys of a request: ``Authorization``, with or without ``Bearer``, and ``X-Api-Key``."""
    given = []
    if authorization := headers.get(b"authorization"):
        scheme, _, rest = authorization.partition(b" ")
        # Some clients send only the key.
        given.append(rest.strip() if scheme.lower() == b"bearer" else authorization)
    if key := headers.get(b"x-api-key"):
        given.append(key)
    return given


def without_password(url: str) -> str:
    """Return a URL, possibly malformed, without its user, password and query."""
    return _QUERY.sub("?***", _USER.sub(r"\1***@", url))


def has_password(url: str) -> bool:
    """Return whether a URL contains a password; of a malformed one, whether it may."""
    if "://" not in url:
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:
        return "@" in url


def read_password(file: Path) -> str:
    """Return the password in a file, which must not be empty, without the line break at its end."""
    field, hint = "redis_password_file", "give a file that contains the password"
    text = _read_text(file, field, hint, _MAX_PASSWORD_BYTES).rstrip("\r\n")
    if not text:
        raise InputError(field, f"{file} is empty", hint)
    return text
