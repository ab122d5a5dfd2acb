"""Labelled examples, one per JSON line: data scripts write them; training, calibration and evaluation read them.

Schema: ``id``, ``source``, ``query``, ``passages`` = list of ``{id, title, text, format, relevant_spans, relevant}``,
where ``relevant_spans`` are ``[start, end)`` code-point offsets into ``text``. Optional: ``answers``, a list of correct
answers to the query, and for a passage ``teacher_score``, a reranker's logit. Without ``format`` it is ``text``. Other
keys are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.json_files import json_lines
from secateur.labelled.readable import overlapping
from secateur.models.errors import DataError, InputError, shown
from secateur.models.segmentation import check_format
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class LabelledPassage:
    """A passage with the spans of its text that answer its query.

    Attributes:
        relevant: Whether the passage answers the query.
        teacher: A reranker's logit for query and passage, if known.
    """

    passage: Passage
    spans: tuple[tuple[int, int], ...]
    relevant: bool
    teacher: float | None = None

    def unit_labels(self, units: Sequence[Unit]) -> list[bool]:
        """Return for each unit whether a relevant span covers some of what can be read of it."""
        return overlapping(self.passage.text, units, self.spans)


@dataclass(frozen=True, slots=True)
class Example:
    """A query with its labelled passages and, if known, its correct answers."""

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
            raise ValueError(f"relevant span [{start}, {end}] is outside the text of {len(text)} characters")
    text_format = check_format("format", row.get("format") or "text")
    passage = Passage(text, id=str(row.get("id") or ""), title=row.get("title") or None, format=text_format)
    teacher = row.get("teacher_score")
    if teacher is not None and not math.isfinite(teacher):
        raise ValueError(f"teacher_score must be a finite number, not {teacher}")
    relevant = bool(row.get("relevant", bool(spans)))
    return LabelledPassage(passage, spans, relevant, None if teacher is None else float(teacher))


def parse_example(row: dict[str, Any], number: int) -> Example:
    """Return the example in a row of the schema; an example without an id is named by its number.

    Raises:
        KeyError, TypeError, ValueError: The row does not match the schema.
    """
    query = row["query"]
    if not isinstance(query, str):
        raise TypeError(f"query must be a string, not {shown(query)}")
    answers = [] if row.get("answers") is None else row["answers"]
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise TypeError(f"answers must be a list of strings, not {shown(answers)}")
    passages = tuple(_passage(passage) for passage in row["passages"])
    return Example(str(row.get("id", number)), str(row.get("source", "")), query, passages, tuple(answers))


def read_examples(path: Path) -> Iterator[Example]:
    """Read a JSON-lines file, gzipped or not; a DataError names the file and line that is not valid."""
    for number, row in json_lines(path):
        try:
            example = parse_example(row, number)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        yield example


def files_in(directory: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files of a directory with one of the endings, sorted by name.

    Raises:
        DataError: One is a pipe or a device, which might have no end.
    """
    files = sorted(path for path in directory.iterdir() if path.name.endswith(endings) and not path.is_dir())
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: is not a regular file (a broken link, a pipe or a device); remove it")
    return files


def data_files(path: Path) -> list[Path]:
    """Return the JSON-lines files of a path (at least one): itself, or those in the directory, sorted by name."""
    if path.is_file():
        return [path]
    files = files_in(path, (".jsonl", ".jsonl.gz")) if path.is_dir() else []
    if not files:
        raise DataError(f"{path}: no such file, nor a directory with .jsonl or .jsonl.gz files")
    return files


def source_name(path: Path) -> str:
    """Return the name of the source in a data file: the file name up to the first dot."""
    return path.name.split(".", 1)[0]
