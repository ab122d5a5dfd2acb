"""How much one request may ask for."""

from __future__ import annotations

from secateur.models.errors import InputError
from secateur.models.types import PruneRequest
from secateur.service.settings import Settings


def check_limits(settings: Settings, request: PruneRequest) -> None:
    """Refuse a request that is too large, whichever API it came by.

    Raises:
        InputError: it has too many passages or characters.
    """
    if len(request.query) > settings.max_query_characters:
        raise InputError(
            "query",
            f"has {len(request.query)} characters, and {settings.max_query_characters} are allowed",
            "shorten it",
        )
    if len(request.passages) > settings.max_passages:
        raise InputError(
            "passages",
            f"are {len(request.passages)}, and {settings.max_passages} are allowed",
            "send fewer, or several requests",
        )
    characters = sum(len(passage.text) + len(passage.title or "") for passage in request.passages)
    if characters > settings.max_characters:
        raise InputError(
            "passages",
            f"have {characters} characters together, and {settings.max_characters} are allowed",
            "send fewer, or several requests",
        )
