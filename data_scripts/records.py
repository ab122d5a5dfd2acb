"""The records that the data steps exchange, one JSON line each, validated when they are read.

A field means the same in every record: ``id`` is unique in its file, ``title`` is that of the document and may be
empty, ``format`` is that of the text, ``answers`` are right answers as they are written in documents, and
``teacher_score`` is the teacher's relevance as a logit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from secateur.labelled.json_files import json_lines
from secateur.models.errors import DataError, InputError, shown
from secateur.models.segmentation import check_format

_T = TypeVar("_T")


FormatName = Annotated[str, AfterValidator(partial(check_format, "format"))]
"""The name of a passage format; see `secateur.models.segmentation.FORMATS`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A source document; ``metadata`` has the source's further fields."""

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    format: FormatName = "text"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, ``document.text[start:end]``: the passage that is retrieved and labelled."""

    id: str
    document_id: str
    text: str
    title: str = ""
    start: int = 0
    end: int = 0
    format: FormatName = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """A query that a user might ask, with its style, e.g. ``keywords``, and the chunk that it was made from, if any."""

    id: str
    query: str
    chunk_id: str | None = None
    document_id: str | None = None
    style: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that was retrieved for a query, with its rank, from 1, and the retriever's score."""

    id: str
    text: str
    title: str = ""
    document_id: str = ""
    rank: int = 0
    score: float = 0.0
    teacher_score: float | None = None
    format: FormatName = "text"


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query and its passages by rank."""

    id: str
    query: str
    passages: tuple[Candidate, ...]
    chunk_id: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a passage to label; without ``query_id``, the query's text identifies it."""

    id: str
    query: str
    passage: str
    title: str = ""
    query_id: str = ""
    passage_id: str = ""
    document_id: str = ""
    teacher_score: float | None = None
    answers: tuple[str, ...] = ()
    format: FormatName = "text"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A pair with its silver labels.

    Attributes:
        units: ``[start, end)`` code points of each unit; the units tile the passage.
        labels: Share of samples that kept each unit: 0 or 1 where only one sample was drawn.
        answer: The model's answer; empty if it gave none or no model was asked.
        raw: The model's unchanged replies.
        usage: Tokens and cost of the replies; empty if no model was asked.
    """

    id: str
    query: str
    passage: str
    units: tuple[tuple[int, int], ...]
    labels: tuple[float, ...]
    answer: str = ""
    raw: tuple[str, ...] = ()
    usage: dict[str, float] = field(default_factory=dict)
    title: str = ""
    query_id: str = ""
    passage_id: str = ""
    document_id: str = ""
    teacher_score: float | None = None
    answers: tuple[str, ...] = ()
    format: FormatName = "text"

    def __post_init__(self) -> None:
        if len(self.units) != len(self.labels):
            raise ValueError(f"{len(self.units)} units, but {len(self.labels)} labels")


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def parse_record(value: Any, kind: type[_T], where: str) -> _T:
    """Convert a JSON value to a record, without unknown keys; `DataError` names the place and a wrong field's value."""
    try:
        record: _T = _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{where}: {name}: {first['msg']} (got {shown(first['input'])})") from error
    except InputError as error:
        raise DataError(f"{where}: {error}") from error
    return record


def read_records(path: Path, kind: type[_T]) -> Iterator[_T]:
    """Read a JSON-lines file of records, gzipped or not; `DataError` names an invalid line."""
    for number, value in json_lines(path):
        yield parse_record(value, kind, f"{path}, line {number}")


def parsed_lines(path: Path, parse: Callable[[Any, int], _T]) -> Iterator[_T]:
    """Convert each line of a JSON-lines file by its value and number; `DataError` names one that cannot be."""
    for number, value in json_lines(path):
        try:
            result = parse(value, number)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        yield result
