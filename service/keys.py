"""API keys: only their digests are held, and all of them are compared, whichever fits."""

from __future__ import annotations

import errno
import hmac
import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from secateur.models.errors import InputError

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_KEY = re.compile(r"[\x21-\x7e]+")
_NAME_LENGTH = 8  # hexadecimal digits of the digest, by which logs call a key


class Keys:
    """The keys of the settings and those of a file, which can be read again.

    Args:
        keys: each a key, or ``sha256:`` and the SHA-256 of one in hexadecimal.
        file: with one on each line; blank lines and those that begin with # are passed over.

    Raises:
        InputError: the file cannot be read, or one of them is no key.
    """

    def __init__(self, keys: Iterable[str] = (), file: Path | None = None) -> None:
        self._own = [_digest(key, "api_keys") for key in keys]
        self._file = file
        self._digests = self._own + self._of_file()

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._digests)

    def reload(self) -> None:
        """Read the file again; when it cannot be used, the keys stay as they are."""
        try:
            self._digests = self._own + self._of_file()
        except InputError as error:
            log.error("the API keys stay as they were: %s", error)
        else:
            log.info("%d API keys are valid", len(self._digests))

    def name_of(self, key: bytes) -> str | None:
        """Return the name of a valid key, None for any other; it takes as long for the one as for the other."""
        digest = sha256(key).digest()
        name = None
        for valid in self._digests:
            if hmac.compare_digest(valid, digest):
                name = valid.hex()[:_NAME_LENGTH]
        return name

    def _of_file(self) -> list[bytes]:
        if self._file is None:
            return []
        try:
            lines = _read(self._file).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InputError(
                "api_keys_file", f"{self._file} cannot be read ({reason})", "give a file of keys"
            ) from None
        digests = [
            _digest(line.strip(), f"api_keys_file, line {number}")
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.strip().startswith("#")
        ]
        if not digests:
            raise InputError("api_keys_file", f"{self._file} holds no key", "add one, or leave the setting out")
        return digests


def _read(file: Path) -> str:
    if not file.is_file():  # a pipe gives its keys once, and the next time blocks the service
        file.stat()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file.read_text(encoding="utf-8-sig")


def _digest(key: str, where: str) -> bytes:
    if found := _DIGEST.fullmatch(key):
        return bytes.fromhex(found[1])
    if key.startswith("sha256:") or not _KEY.fullmatch(key):
        raise InputError(
            where, "is no key", "give printable ASCII without spaces, or sha256: and 64 lower-case hexadecimal digits"
        )
    return sha256(key.encode()).digest()


def given_keys(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """Return what a request gives as its key: ``Authorization``, with or without ``Bearer``, and ``X-Api-Key``."""
    given = []
    if authorization := headers.get(b"authorization"):
        scheme, _, rest = authorization.partition(b" ")
        # Some clients send the bare key.
        given.append(rest.strip() if scheme.lower() == b"bearer" else authorization)
    if key := headers.get(b"x-api-key"):
        given.append(key)
    return given
