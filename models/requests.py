"""Checking requests: every error names the field, shows the value and has a hint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from secateur.models.errors import InputError, shown
from secateur.models.kept_text import check_gap_marker
from secateur.models.options import MAX_ENTRIES, Option, PruneOptions, option_table
from secateur.models.patterns import check_entries
from secateur.models.segmentation import check_format
from secateur.models.types import Passage, PruneRequest

PassageLike = str | Passage | Mapping[str, Any]

_BOOLEANS = (bool, np.bool_)


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A valid request, and the changes that were made to it."""

    request: PruneRequest
    warnings: tuple[str, ...]


def as_integer(value: object) -> int | None:
    """Return an integer of any type, such as numpy's, as an int; None for anything else, including booleans."""
    if isinstance(value, _BOOLEANS):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _as_float(value: object) -> float | None:
    """Return a number of any type as a float, NaN if it is too large; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):  # ValueError: a signaling NaN
        return math.nan


_READERS: dict[type, tuple[Callable[[Any], Any], str, str]] = {
    bool: (lambda value: bool(value) if isinstance(value, _BOOLEANS) else None, "a boolean", "give true or false"),
    int: (as_integer, "an integer", "give an integer"),
    float: (_as_float, "a number", "give a number"),
    str: (lambda value: value if isinstance(value, str) else None, "a string", "give a string"),
}


def _check_option(option: Option, value: object) -> Any:
    read, kind, hint = _READERS[option.kind]
    if option.range:
        hint = f"{hint} {'of' if option.kind is str else 'in'} {option.range}".replace("in >=", "of at least")
    if option.many:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(option.name, f"{shown(value)} is not a list", "give a list of strings")
        if len(value) > MAX_ENTRIES:
            raise InputError(option.name, f"has {len(value)} entries", f"give at most {MAX_ENTRIES}")
        one = replace(option, many=False)
        return tuple(
            _check_option(replace(one, name=f"{option.name}[{place}]"), entry) for place, entry in enumerate(value)
        )
    found = read(value)
    if found is None:
        raise InputError(option.name, f"{shown(value)} is not {kind}", hint)
    size = len(found) if option.kind is str else found
    low, high = option.minimum, option.maximum
    # Written so that NaN is out of range.
    if (low is not None and not size >= low) or (high is not None and not size <= high):
        said = f"has {size} characters" if option.kind is str else f"{shown(value)} is out of range"
        raise InputError(option.name, said, hint)
    return found


def check_options(options: PruneOptions) -> PruneOptions:
    """Check the types and ranges of options, and return them with numbers of Python's own types.

    Raises:
        InputError: An option is not valid, or two exclude each other.
    """
    checked = {
        name: _check_option(option, value)
        for name, option in option_table().items()
        if (value := getattr(options, name)) is not None or not option.optional
    }
    if options.target_recall is not None and options.threshold is not None:
        raise InputError("target_recall", f"cannot be used with threshold {options.threshold!r}", "give one of the two")
    if options.compression is not None and options.max_tokens is not None:
        raise InputError("compression", f"cannot be used with max_tokens {options.max_tokens}", "give one of the two")
    for name in ("always_keep", "never_keep"):
        check_entries(name, checked[name])
    both = [entry for entry in checked["always_keep"] if entry in checked["never_keep"]]
    if both:
        raise InputError("always_keep", f"{shown(both[0])} is in never_keep too", "leave it out of one of the two")
    if options.gap_marker is not None:
        check_gap_marker(options.gap_marker)
    return replace(options, **checked)


_PASSAGE_FIELDS = tuple(one.name for one in fields(Passage))
_KINDS: dict[str, tuple[Any, str, str]] = {
    "text": (str, "a string", "give the passage's text"),
    "title": (str | None, "a string", "give a string or leave it out"),
    "metadata": (Mapping | None, "an object", "give keys and values"),
}


def as_passage(value: PassageLike, field: str) -> Passage:
    """Return a caller's string, `Passage`, or mapping with its fields as a `Passage`; ``field`` names it in errors."""
    if isinstance(value, str):
        return Passage(value)
    if isinstance(value, Mapping):
        if "text" not in value:
            raise InputError(f"{field}.text", "is missing", "give the passage's text")
        given = {name: found for name in _PASSAGE_FIELDS if (found := value.get(name)) is not None}
        value = Passage(**{"text": None, **given})
    if not isinstance(value, Passage):
        raise InputError(field, f"{shown(value)} is not a passage", "give a string or an object with `text`")
    for name, (kind, said, hint) in _KINDS.items():
        if not isinstance(getattr(value, name), kind):
            raise InputError(f"{field}.{name}", f"{shown(getattr(value, name))} is not {said}", hint)
    if not isinstance(value.id, str | None) and type(value.id) is not int:
        number = as_integer(value.id)
        if number is None:
            problem = f"{shown(value.id)} is not a string or integer"
            raise InputError(f"{field}.id", problem, "change it or leave it out")
        value = replace(value, id=number)
    check_format(f"{field}.format", value.format)
    return value


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate, which cannot be encoded, by U+FFFD. Offsets stay the same."""
    if text.isascii():  # known without a scan
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # In UTF-8 only surrogates begin with ED and a byte from A0 on, and they are as long as U+FFFD.
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).copy()
        at = np.flatnonzero((data[:-2] == 0xED) & (data[1:-1] >= 0xA0))
        for offset, byte in enumerate("\ufffd".encode()):
            data[at + offset] = byte
        return data.tobytes().decode()
    return text


def clean_passage(passage: Passage) -> Passage:
    """Return a passage with the lone surrogates in text and title replaced; see `replace_surrogates`."""
    text, title = replace_surrogates(passage.text), passage.title and replace_surrogates(passage.title)
    unchanged = text == passage.text and title == passage.title
    return passage if unchanged else replace(passage, text=text, title=title)


def check_request(query: object, passages: object, options: PruneOptions) -> CheckedRequest:
    """Check a query, its passages and options, and replace lone surrogates.

    Raises:
        InputError: A value is not valid.
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
    clean = PruneRequest(replace_surrogates(query), tuple(map(clean_passage, given)), options)
    changed = ["query"] if clean.query != query else []
    changed += [f"passages[{n}]" for n, passage in enumerate(given) if passage is not clean.passages[n]]
    return CheckedRequest(clean, tuple(f"{field}: lone surrogates were replaced by U+FFFD" for field in changed))


def check_requests(requests: Sequence[PruneRequest]) -> list[CheckedRequest]:
    """Check several requests; see `check_request`.

    Raises:
        InputError: A request is not valid; the message names it and the field.
    """
    checked = []
    for number, one in enumerate(requests):
        try:
            checked.append(check_request(one.query, one.passages, one.options))
        except InputError as error:
            raise InputError(f"requests[{number}].{error.field}", error.problem, error.hint) from error
    return checked
