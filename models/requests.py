"""Checking what a caller gave: every error names the field, the value and the hint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from secateur.models.errors import InputError, shown
from secateur.models.segmentation import FORMATS
from secateur.models.types import Passage, PruneOptions, PruneRequest

PassageLike = str | Passage | Mapping[str, Any]

MAX_JOINER = 1000  # characters; it is repeated for each gap


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that can be run, and what was changed to make it so."""

    request: PruneRequest
    warnings: tuple[str, ...]


def _share(field: str, value: object) -> float:
    """Return a number in [0, 1], of any type that is one, as a float."""
    hint = "give a number in [0, 1]"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        raise InputError(field, f"{shown(value)} is not a number", hint)
    try:
        number = float(value)
    except (OverflowError, ValueError):  # ValueError: a signaling NaN
        number = math.nan
    if not 0 <= number <= 1:  # NaN is in no range
        raise InputError(field, f"{shown(value)} is out of range", hint)
    return number


def as_integer(value: object) -> int | None:
    """Return an integer of any type, such as numpy's, as an int; None for anything else, booleans among it."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _at_least(field: str, value: object, low: int) -> int:
    number = as_integer(value)
    if number is None or number < low:
        raise InputError(field, f"{shown(value)} is not an integer of at least {low}", "change it or leave it out")
    return number


def _boolean(field: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(field, f"{shown(value)} is not a boolean", "give true or false")
    return bool(value)


def _joiner(value: object) -> None:
    if not isinstance(value, str):
        raise InputError("joiner", f"{shown(value)} is not a string", "give the text to put into gaps")
    if len(value) > MAX_JOINER:
        raise InputError("joiner", f"has {len(value)} characters, and {MAX_JOINER} are allowed", "shorten it")


def check_options(options: PruneOptions) -> PruneOptions:
    """Check types and ranges of all options; return them with Python's own numbers in place of numpy's and others.

    Raises:
        InputError: one is wrong, or two exclude each other.
    """
    checked: dict[str, Any] = {"min_units": _at_least("min_units", options.min_units, 0)}
    for name in ("threshold", "target_recall", "min_score"):
        if getattr(options, name) is not None:
            checked[name] = _share(name, getattr(options, name))
    if options.target_recall is not None and options.threshold is not None:
        raise InputError("target_recall", f"given together with threshold {options.threshold!r}", "give one of the two")
    for name in ("max_tokens", "top_n"):
        if getattr(options, name) is not None:
            checked[name] = _at_least(name, getattr(options, name), 1)
    for name in ("reorder", "keep_title", "drop_empty", "return_units", "truncate_query"):
        checked[name] = _boolean(name, getattr(options, name))
    _joiner(options.joiner)
    return replace(options, **checked)


def _optional_text(field: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise InputError(field, f"{shown(value)} is not a string", "give a string or leave it out")


def _with_plain_id(passage: Passage, field: str) -> Passage:
    if passage.id is None or isinstance(passage.id, str):
        return passage
    number = as_integer(passage.id)
    if number is None:
        problem = f"{shown(passage.id)} is not a string or integer"
        raise InputError(f"{field}.id", problem, "change it or leave it out")
    return passage if type(passage.id) is int else replace(passage, id=number)


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
    value = _with_plain_id(value, field)
    if value.metadata is not None and not isinstance(value.metadata, Mapping):
        raise InputError(f"{field}.metadata", f"{shown(value.metadata)} is not an object", "give keys and values")
    if not isinstance(value.format, str) or value.format not in FORMATS:
        raise InputError(
            f"{field}.format", f"unknown format {shown(value.format)}", f"use {', '.join(sorted(FORMATS))}"
        )
    return value


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate, which no encoding can carry, by U+FFFD; offsets stay as they are."""
    if text.isascii():  # which a string knows of itself
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # In UTF-8 a surrogate is ED and a byte from A0 on, which nothing else is, and as long as U+FFFD.
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).copy()
        at = np.flatnonzero((data[:-2] == 0xED) & (data[1:-1] >= 0xA0))
        for offset, byte in enumerate("\ufffd".encode()):
            data[at + offset] = byte
        return data.tobytes().decode()
    return text


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
    options = check_options(options)
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
