"""Labels from known answers, without a language model: each query's answer strings are located in its passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.records import parsed_lines
from secateur.labelled.examples import source_name
from secateur.labelled.json_files import write_json_lines
from secateur.models.requests import as_passage


@dataclass(slots=True)
class SpanReport:
    """Numbers of queries, passages, passages with an answer, and queries whose answers are in none of them."""

    queries: int = 0
    passages: int = 0
    relevant: int = 0
    unanswered: int = 0


def find_spans(text: str, answers: Sequence[str]) -> list[tuple[int, int]]:
    """Locate answers in a text as whole words, ignoring case, differences in white space and blank answers.

    Returns:
        Ascending, non-overlapping code-point spans ``[start, end)``.
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


def label_answer_spans(source: Path, target: Path) -> SpanReport:
    """Label a file of queries, answers and passages; the target is written only if the run succeeds.

    Args:
        source: JSON lines ``{id?, query, answers: [str], passages: [str | {id?, title?, text, format?}]}``; the format
            is ``text`` if unset.
        target: Labelled examples, see `secateur.labelled.examples`.
    """
    report = SpanReport()

    def example(row: Any, number: int) -> dict[str, Any]:
        query, answers = row["query"], row["answers"]
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise ValueError("`answers` must be a list of strings")
        if not isinstance(query, str) or not query.strip():
            raise ValueError("`query` must be a string that is not blank")
        passages: list[dict[str, Any]] = []
        for index, value in enumerate(row["passages"]):
            passage = as_passage(value, f"passages[{index}]")
            spans = find_spans(passage.text, answers)
            id = str(passage.id if passage.id is not None else f"{number}-{index}")
            format = passage.format if isinstance(value, dict) and value.get("format") else "text"
            shown = {"id": id, "title": passage.title or "", "text": passage.text, "format": format}
            passages.append({**shown, "relevant_spans": spans, "relevant": bool(spans)})
        relevant = sum(passage["relevant"] for passage in passages)
        report.queries += 1
        report.passages += len(passages)
        report.relevant += relevant
        report.unanswered += bool(answers) and not relevant
        id = str(row.get("id", number))
        return {"id": id, "source": source_name(source), "query": query, "answers": answers, "passages": passages}

    write_json_lines(target, parsed_lines(source, example))
    return report
