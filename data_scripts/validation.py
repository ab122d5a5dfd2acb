"""Checks that the data steps share: of option values, of ids, and for output that would be empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from secateur.models.errors import DataError, InputError, shown


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T")
_R = TypeVar("_R", bound=_Identified)


def check_at_least(least: float, **values: float) -> None:
    """Raise `InputError` for a value below a bound; the field is the value's name."""
    for name, value in values.items():
        if value < least:
            raise InputError(name, f"{value!r} is less than {least}", f"give {least} or more")


def check_choice(known: Sequence[str], **values: object) -> None:
    """Raise `InputError` for a value that is not among the known ones; the field is the value's name."""
    for name, value in values.items():
        if value not in known:
            raise InputError(name, f"{shown(value)} is unknown", f"give one of {', '.join(known)}")


def unique_ids(rows: Iterable[_R], source: Path) -> Iterator[_R]:
    """Yield the rows of a file; raise `DataError` for an id that another row has."""
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise DataError(f"{source}: duplicate id {row.id!r}; give each row its own")
        seen.add(row.id)
        yield row


def not_empty(rows: Iterable[_T], problem: str) -> Iterator[_T]:
    """Yield rows; raise `DataError` with a message if there were none."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(problem)
