"""A cache of endpoint replies on disk, addressed by the content of the request; what makes a run resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import parse_json, read_text
from secateur.models.errors import DataError
from secateur.models.files import write_atomically


@dataclass(frozen=True, slots=True)
class Completion:
    """An endpoint's reply to one request.

    Attributes:
        text: what the model wrote, not empty.
        prompt_tokens: tokens of the request as the endpoint counts them; None where it does not say.
        completion_tokens: tokens of the reply, likewise.
        finish_reason: why the model stopped, e.g. ``stop`` or ``length``; None where the endpoint does not say.
        first_tokens: what the reply could have begun with, as (token, log probability); empty where the request did
            not ask for ``logprobs`` or the endpoint gives none.
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
    """Replies by request key, one small JSON file each.

    Args:
        directory: made when the first reply is stored; runs may share it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, key: str) -> Path:
        """Return where a key's reply is stored; spread over 256 folders, which file systems and people like better."""
        return self.directory / key[:2] / f"{key}.json"

    def get(self, key: str) -> Completion | None:
        """Return a stored reply; None for one that is missing or broken, which costs a call and not the run."""
        try:
            stored = parse_json(read_text(self.path(key)))
            tokens = tuple((str(token), float(value)) for token, value in stored.pop("first_tokens", ()))
            reply = Completion(**stored, first_tokens=tokens)
        except (DataError, ValueError, TypeError, AttributeError):
            return None
        counts = (reply.prompt_tokens, reply.completion_tokens)
        if not isinstance(reply.text, str) or not all(count is None or type(count) is int for count in counts):
            return None
        return reply

    def put(self, key: str, reply: Completion) -> None:
        """Store a reply.

        Raises:
            DataError: the directory cannot be written.
        """
        write_atomically(self.path(key), json.dumps(asdict(reply)) + "\n")
