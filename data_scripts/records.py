"""What the data steps hand to each other: JSON lines of the records below, read strictly and written whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from secateur.labelled.json_files import json_lines
from secateur.models.errors import DataError, shown

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Document:
    """What was ingested.

    Attributes:
        id: unique in its file.
        text: all of it.
        title: empty where there is none.
        metadata: whatever the source says about it.
    """

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, the passage that is retrieved and labelled.

    Attributes:
        id: unique in its file.
        document_id: whose it is.
        text: ``document.text[start:end]``.
        title: of the document.
        start: first code point in the document's text.
        end: behind the last.
        format: of the document's text; see `secateur.models.segmentation`.
    """

    id: str
    document_id: str
    text: str
    title: str = ""
    start: int = 0
    end: int = 0
    format: str = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """Something that a user may ask.

    Attributes:
        id: unique in its file.
        query: its text.
        chunk_id: of the chunk that it was made from, if it was made.
        document_id: of that chunk's document.
        style: how it was made, e.g. ``question``, ``keywords``, ``heading``.
        answers: right answers as they stand in documents, where they are known.
    """

    id: str
    query: str
    chunk_id: str | None = None
    document_id: str | None = None
    style: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that was retrieved for a query.

    Attributes:
        id: of the chunk.
        text: of the chunk.
        title: of its document.
        document_id: of its document.
        rank: from 1.
        score: the retriever's.
        teacher_score: a larger model's relevance as a logit, once the teacher step has run.
        format: of the chunk.
    """

    id: str
    text: str
    title: str = ""
    document_id: str = ""
    rank: int = 0
    score: float = 0.0
    teacher_score: float | None = None
    format: str = "text"


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
    """One passage to label for one query. Only the first three are needed; the others go through to the end.

    Attributes:
        id: unique in its file.
        query: the query's text.
        passage: the passage's text.
        title: of the passage's document.
        query_id: pairs of one query share it; empty: the query's text stands for it.
        passage_id: of the chunk.
        document_id: of the chunk's document.
        teacher_score: a larger model's relevance as a logit.
        answers: right answers as they stand in documents, where they are known.
        format: of the passage.
    """

    id: str
    query: str
    passage: str
    title: str = ""
    query_id: str = ""
    passage_id: str = ""
    document_id: str = ""
    teacher_score: float | None = None
    answers: tuple[str, ...] = ()
    format: str = "text"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A pair with its silver labels.

    Attributes:
        units: ``[start, end)`` code points of each unit; they tile the passage.
        labels: for each unit the share of samples that kept it: 0 or 1 where only one was drawn.
        answer: what the model answered from the passage; empty for no answer, or where no model was asked.
        raw: the model's replies as they came.
        usage: tokens and cost of the replies; empty where no model was asked.
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
    format: str = "text"

    def __post_init__(self) -> None:
        if len(self.units) != len(self.labels):
            raise ValueError(f"{len(self.units)} units, but {len(self.labels)} labels")


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def parse_record(value: Any, kind: type[_T], where: str) -> _T:
    """Read a record off a JSON value; keys that it does not know are passed over.

    Raises:
        DataError: a field is missing or wrong; the message names ``where``, the field and the value.
    """
    try:
        record: _T = _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{where}: {name}: {first['msg']} (got {shown(first['input'])})") from error
    return record


def read_records(path: Path, kind: type[_T]) -> Iterator[_T]:
    """Read a file of records, JSON lines, gzipped or not.

    Raises:
        DataError: the file cannot be read, or a line is wrong; the message names it.
    """
    for number, value in json_lines(path):
        yield parse_record(value, kind, f"{path}, line {number}")
