"""Labelled examples, one JSON line each: what data scripts write, and training, calibration and evaluation read.

Schema: ``id``, ``source``, ``query``, ``passages`` = list of ``{id, title, text, format, relevant_spans, relevant}``,
where ``relevant_spans`` are ``[start, end)`` code-point offsets into ``text``, and optionally ``answers``, a list of
right answers to the query. A passage may carry ``teacher_score``, a reranker's logit for it. Other keys are
ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, shown
from secateur.models.segmentation import check_format
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class LabelledPassage:
    """A passage with the spans that answer its query; none of them means that it is irrelevant.

    Attributes:
        passage: the passage.
        spans: ``[start, end)`` code points of its text.
        relevant: whether it answers the query.
        teacher: a reranker's logit for query and passage, where there is one.
    """

    passage: Passage
    spans: tuple[tuple[int, int], ...]
    relevant: bool
    teacher: float | None = None

    def unit_labels(self, units: Sequence[Unit]) -> list[bool]:
        """Return for each unit whether it overlaps a relevant span."""
        return [any(unit.start < end and unit.end > start for start, end in self.spans) for unit in units]


@dataclass(frozen=True, slots=True)
class Example:
    """A query with its labelled passages and, where the data has them, its right answers."""

    id: str
    source: str
    query: str
    passages: tuple[LabelledPassage, ...]
    answers: tuple[str, ...] = ()


def _passage(row: dict[str, Any]) -> LabelledPassage:
    spans = tuple((int(start), int(end)) for start, end in row.get("relevant_spans") or [])
    text = row["text"]
    for start, end in spans:
        if not 0 <= start < end <= len(text):
            raise ValueError(f"relevant span [{start}, {end}] lies outside the text of {len(text)} characters")
    passage = Passage(
        text=text,
        id=str(row.get("id") or ""),
        title=row.get("title") or None,
        format=check_format("format", row.get("format") or "text"),
    )
    teacher = row.get("teacher_score")
    if teacher is not None and not math.isfinite(teacher):
        raise ValueError(f"teacher_score must be a finite number, not {teacher}")
    return LabelledPassage(
        passage, spans, bool(row.get("relevant", bool(spans))), None if teacher is None else float(teacher)
    )


def _answers(row: dict[str, Any]) -> tuple[str, ...]:
    answers = row.get("answers")
    if answers is None:
        return ()
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise TypeError(f"answers must be a list of strings, not {shown(answers)}")
    return tuple(answers)


def parse_example(row: dict[str, Any], number: int) -> Example:
    """Read one example off a row of the schema.

    Args:
        row: a JSON object.
        number: names the example when it has no id.

    Raises:
        KeyError, TypeError, ValueError: the row is not of the schema.
    """
    query = row["query"]
    if not isinstance(query, str):
        raise TypeError(f"query must be a string, not {shown(query)}")
    passages = tuple(_passage(passage) for passage in row["passages"])
    return Example(str(row.get("id", number)), str(row.get("source", "")), query, passages, _answers(row))


def read_examples(path: Path) -> Iterator[Example]:
    """Read a JSON-lines file, gzipped or not.

    Raises:
        DataError: the file cannot be read, or a line is not of the schema; the message names file and line.
    """
    for number, line in filled_lines(path):
        try:
            example = parse_example(parse_json(line), number)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        yield example


def files_in(directory: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files of a directory whose names end so, by name.

    Raises:
        DataError: one is a pipe or a device, which could be read without end.
    """
    files = sorted(path for path in directory.iterdir() if path.name.endswith(endings) and not path.is_dir())
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: is not a regular file (a broken link, a pipe or a device); remove it")
    return files


def data_files(path: Path) -> list[Path]:
    """Return the JSON-lines files that a path means: itself, or those in the directory, by name.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    files = files_in(path, (".jsonl", ".jsonl.gz")) if path.is_dir() else []
    if not files:
        raise DataError(f"{path}: no such file, nor a directory with .jsonl or .jsonl.gz files")
    return files


def source_name(path: Path) -> str:
    """Return a data file's source name: its file name up to the first dot."""
    return path.name.split(".", 1)[0]
