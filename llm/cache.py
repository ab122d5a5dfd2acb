"""A cache of replies on disk, keyed by the content of the request. It makes runs resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from secateur.models.files import write_atomically


@dataclass(frozen=True, slots=True)
class Completion:
    """An endpoint's reply to one request.

    ``text`` is not empty. The tokens are as the endpoint counted them; they and the reason for the end (``stop`` or
    ``length``) are None where it gives none. ``first_tokens`` are the candidates for the first token with their log
    probabilities.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    first_tokens: tuple[tuple[str, float], ...] = ()


def request_key(request: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request's canonical JSON, as 64 hexadecimal digits."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class ReplyCache:
    """Replies by request key, each in a small JSON file of a directory, which runs may share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stored = TypeAdapter(Completion)

    def path(self, key: str) -> Path:
        """Return the file for a key. Files are spread over 256 folders, which file systems handle better."""
        return self.directory / key[:2] / f"{key}.json"

    def get(self, key: str) -> Completion | None:
        """Return a stored reply; None for one that is missing or damaged, which costs only another request."""
        try:
            return self._stored.validate_json(self.path(key).read_bytes(), strict=True)
        except (OSError, ValueError):
            return None

    def put(self, key: str, reply: Completion) -> None:
        """Store a reply.

        Raises:
            DataError: The directory cannot be written.
        """
        write_atomically(self.path(key), json.dumps(asdict(reply)) + "\n")
