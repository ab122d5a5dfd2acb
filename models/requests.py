"""Checking what a caller gave: every error names the field, the value and the mend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from secateur.models.errors import InputError, shown
from secateur.models.segmentation import FORMATS
from secateur.models.types import Passage, PruneOptions, PruneRequest

PassageLike = str | Passage | Mapping[str, Any]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
MAX_JOINER = 1000  # characters; it is repeated for each gap


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that can be run, and what was changed to make it so."""

    request: PruneRequest
    warnings: tuple[str, ...]


def _number(field: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating):
        raise InputError(field, f"{shown(value)} is not a number", f"give a number in [{low:g}, {high:g}]")
    if not low <= value <= high:  # NaN is in no range
        raise InputError(field, f"{value!r} is out of range", f"give a number in [{low:g}, {high:g}]")


def _integer(field: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(field, f"{shown(value)} is not an integer of at least {low}", "change it or leave it out")


def _joiner(value: object) -> None:
    if not isinstance(value, str):
        raise InputError("joiner", f"{shown(value)} is not a string", "give the text to put into gaps")
    if len(value) > MAX_JOINER:
        raise InputError("joiner", f"has {len(value)} characters, and {MAX_JOINER} are allowed", "shorten it")


def check_options(options: PruneOptions) -> None:
    """Check types and ranges of all options.

    Raises:
        InputError: one is wrong, or two exclude each other.
    """
    if options.threshold is not None:
        _number("threshold", options.threshold, 0.0, 1.0)
    if options.target_recall is not None:
        _number("target_recall", options.target_recall, 0.0, 1.0)
        if options.threshold is not None:
            raise InputError(
                "target_recall", f"given together with threshold {options.threshold!r}", "give one of the two"
            )
    if options.min_score is not None:
        _number("min_score", options.min_score, 0.0, 1.0)
    if options.max_tokens is not None:
        _integer("max_tokens", options.max_tokens, 1)
    if options.top_n is not None:
        _integer("top_n", options.top_n, 1)
    _integer("min_units", options.min_units, 0)
    for name in ("reorder", "keep_title", "drop_empty", "return_units", "truncate_query"):
        if not isinstance(getattr(options, name), bool):
            raise InputError(name, f"{shown(getattr(options, name))} is not a boolean", "give true or false")
    _joiner(options.joiner)


def _optional_text(field: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise InputError(field, f"{shown(value)} is not a string", "give a string or leave it out")


def as_passage(value: PassageLike, field: str) -> Passage:
    """Return a caller's passage as a `Passage`.

    Args:
        value: a string, a `Passage`, or a mapping with its fields.
        field: how to name it in errors.

    Raises:
        InputError: it is none of these, or a part of it is wrong.
    """
    if isinstance(value, str):
        return Passage(value)
    if isinstance(value, Mapping):
        known = {f.name for f in fields(Passage)}
        if "text" not in value:
            raise InputError(f"{field}.text", "is missing", "give the passage's text")
        value = Passage(
            **{key: item for key, item in value.items() if (key in known and item is not None) or key == "text"}
        )
    if not isinstance(value, Passage):
        raise InputError(field, f"{shown(value)} is not a passage", "give a string or an object with `text`")
    if not isinstance(value.text, str):
        raise InputError(f"{field}.text", f"{shown(value.text)} is not a string", "give the passage's text")
    _optional_text(f"{field}.title", value.title)
    if value.id is not None and (isinstance(value.id, bool) or not isinstance(value.id, str | int)):
        raise InputError(f"{field}.id", f"{shown(value.id)} is not a string or integer", "change it or leave it out")
    if value.metadata is not None and not isinstance(value.metadata, Mapping):
        raise InputError(f"{field}.metadata", f"{shown(value.metadata)} is not an object", "give keys and values")
    if not isinstance(value.format, str) or value.format not in FORMATS:
        raise InputError(
            f"{field}.format", f"unknown format {shown(value.format)}", f"use {', '.join(sorted(FORMATS))}"
        )
    return value


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate, which no encoding can carry, by U+FFFD; offsets stay as they are."""
    return _LONE_SURROGATE.sub(_REPLACEMENT, text)


def clean_passage(passage: Passage) -> Passage:
    """Return a passage without lone surrogates in text and title; see `replace_surrogates`."""
    text, title = replace_surrogates(passage.text), passage.title and replace_surrogates(passage.title)
    if text == passage.text and title == passage.title:
        return passage
    return replace(passage, text=text, title=title)


def check_request(query: object, passages: object, options: PruneOptions) -> CheckedRequest:
    """Check a query, its passages and options, and clean them of lone surrogates.

    Raises:
        InputError: something is wrong.
    """
    if not isinstance(query, str):
        raise InputError("query", f"{shown(query)} is not a string", "give the user's question")
    if not query.strip():
        raise InputError("query", "is empty", "give the user's question")
    if isinstance(passages, str | bytes | Mapping) or not isinstance(passages, Sequence):
        raise InputError("passages", f"{shown(passages)} is not a list", "give a list of passages")
    if not passages:
        raise InputError("passages", "is empty", "give at least one passage")
    check_options(options)
    given = [as_passage(value, f"passages[{index}]") for index, value in enumerate(passages)]
    clean = [clean_passage(passage) for passage in given]
    clean_query = replace_surrogates(query)
    warnings = [
        f"passages[{index}]: lone surrogates were replaced by U+FFFD"
        for index, (before, after) in enumerate(zip(given, clean, strict=True))
        if before is not after
    ]
    if clean_query != query:
        warnings.insert(0, "query: lone surrogates were replaced by U+FFFD")
    return CheckedRequest(PruneRequest(clean_query, tuple(clean), options), tuple(warnings))
