"""Checks that the data steps share: of options, of ids, and for output that would be empty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from secateur.models.errors import DataError, InputError, shown


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
_T = TypeVar("_T")
_R = TypeVar("_R", bound=_Identified)


def check(name: str, value: object, kind: Any) -> None:
    """Raise `InputError` for a value that is not of a type, its bounds and choices included."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise InputError(name, f"{shown(value)} is not possible", message[:1].lower() + message[1:]) from error


class Checked:
    """Base of option dataclasses: `InputError` for a field that is not of its type, bounds and choices included."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            check(name, getattr(self, name), kind)


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
