"""How much may come back: known once a request is segmented, and refused before the network runs."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.models.errors import InputError
from secateur.models.pruner import EncodedRequest


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What an answer may hold beside texts and metadata, which are no longer than they came.

    Attributes:
        max_units: that come back with their scores.
        max_joiner_characters: of all joiners together.
    """

    max_units: int = 100_000
    max_joiner_characters: int = 4_000_000


def check_answer(encoded: EncodedRequest, limits: AnswerLimits) -> None:
    """Refuse a request whose answer might be too large.

    Raises:
        InputError: it might have too many units, or joiners that are too long for so many gaps.
    """
    options = encoded.checked.request.options
    units = sorted(map(len, encoded.units), reverse=True)[: options.top_n]
    if options.return_units and sum(units) > limits.max_units:
        raise InputError(
            "return_units",
            f"would return up to {sum(units)} units, and {limits.max_units} are allowed",
            "send fewer or shorter passages, or leave it out",
        )
    gaps = sum((count - 1) // 2 for count in units if count)  # as many as there are if every other unit is kept
    if gaps * len(options.joiner) > limits.max_joiner_characters:
        raise InputError(
            "joiner",
            f"has {len(options.joiner)} characters and may stand in {gaps} gaps, and {limits.max_joiner_characters} "
            "characters are allowed together",
            "shorten it, or send fewer or shorter passages",
        )
