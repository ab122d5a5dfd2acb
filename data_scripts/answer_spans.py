"""Answer-span labels without an LLM: find each query's answer strings in its passages.

Reads JSON lines ``{id?, query, answers: [str], passages: [str | {id?, title?, text}]}`` and writes the labelled
examples that `secateur train` reads (see `secateur.labelled.examples`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, InputError
from secateur.models.requests import as_passage


@dataclass(frozen=True, slots=True)
class SpanReport:
    """What labelling did.

    Attributes:
        queries: queries written.
        passages: passages written.
        relevant: passages that hold an answer.
        unanswered: queries with answers of which none stands in any passage.
    """

    queries: int
    passages: int
    relevant: int
    unanswered: int


def find_spans(text: str, answers: Sequence[str]) -> list[tuple[int, int]]:
    """Return where answers stand in a text, as whole words, whatever their case and white space; overlaps merged.

    Args:
        text: a passage.
        answers: answer strings; blank ones are passed over.

    Returns:
        Ascending code-point spans ``[start, end)``, apart.
    """
    found = []
    for answer in answers:
        words = answer.split()
        if words:
            pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
            found += [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
    spans: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _label(row: dict[str, Any], source: str, number: int) -> dict[str, Any]:
    answers = row["answers"]
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise ValueError("`answers` is not a list of strings")
    passages = []
    for index, value in enumerate(row["passages"]):
        passage = as_passage(value, f"passages[{index}]")
        spans = find_spans(passage.text, answers)
        passages.append(
            {
                "id": str(passage.id if passage.id is not None else f"{number}-{index}"),
                "title": passage.title or "",
                "text": passage.text,
                "sentences": None,
                "relevant_spans": spans,
                "relevant": bool(spans),
            }
        )
    if not isinstance(row["query"], str) or not row["query"].strip():
        raise ValueError("`query` is not a text")
    return {
        "id": str(row.get("id", number)),
        "source": source,
        "query": row["query"],
        "answers": answers,
        "span_kind": "answer",
        "passages": passages,
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in filled_lines(path):
        try:
            row = _label(parse_json(line), path.name.split(".", 1)[0], number)
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        yield row


def label_answer_spans(source: Path, target: Path) -> SpanReport:
    """Label a file of questions, answers and passages.

    Args:
        source: JSON lines, gzipped or not.
        target: the labelled examples, JSON lines; written whole or not at all.

    Raises:
        DataError: the file cannot be read, or a line is wrong; the message names it.
    """
    queries = passages = relevant = unanswered = 0
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as out:
            for row in _rows(source):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                hits = sum(passage["relevant"] for passage in row["passages"])
                queries += 1
                passages += len(row["passages"])
                relevant += hits
                unanswered += bool(row["answers"]) and not hits
        partial.replace(target)
    except OSError as error:
        raise DataError(f"{source} to {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return SpanReport(queries, passages, relevant, unanswered)
