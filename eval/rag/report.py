"""The figures of a RAG evaluation: accuracy with bootstrap intervals against context tokens and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secateur.eval import bootstrap
from secateur.eval.rag.prompts import CONTEXTS, ContextName
from secateur.labelled.markdown_blocks import markdown_table
from secateur.llm.budget import Prices
from secateur.llm.endpoint import Failed

_ACCURACIES = ("exact_match", "f1", "judge")
_PAIRS: tuple[tuple[ContextName, ContextName], ...] = (("pruned", "full"), ("pruned", "none"))


@dataclass(frozen=True, slots=True)
class Record:
    """One question of a source, by its id, answered with one context, and judged: a line of ``rag.jsonl``.

    Context tokens are counted by the pruner's tokenizer, the others by the endpoint. Where there is no answer, or the
    judge gave no verdict, its failure says why. Exact match is 0 or 1, F1 is in [0, 1].
    """

    source: str
    id: str
    query: str
    gold: tuple[str, ...]
    context: ContextName
    context_tokens: int
    answer: str | None = None
    failure: Failed | None = None
    exact_match: float | None = None
    f1: float | None = None
    judge: bool | None = None
    judge_reply: str | None = None
    judge_failure: Failed | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None


def interval(values: Sequence[float]) -> dict[str, float] | None:
    """Return the mean of one value per question with its 95% bootstrap interval; None without a value."""
    if not values:
        return None
    array = np.asarray(values, dtype=np.float64)
    ends = bootstrap.interval(bootstrap.weighted_mean(array, bootstrap.query_weights("rag", len(array))))
    return ends and {"mean": float(array.mean()), "low": ends[0], "high": ends[1], "n": len(array)}


def _known(records: Iterable[Record], name: str) -> list[float]:
    return [float(value) for record in records if (value := getattr(record, name)) is not None]


def _mean(records: Iterable[Record], name: str) -> float | None:
    values = _known(records, name)
    return float(np.mean(values)) if values else None


def _reasons(records: Iterable[Record], name: str) -> dict[str, int]:
    failures = (getattr(record, name) for record in records)
    return dict(sorted(Counter(failure.reason for failure in failures if failure is not None).items()))


def _cost(records: Iterable[Record], prices: Prices | None) -> dict[str, float] | None:
    """Return the price of the answering calls whose tokens are known; cached calls count as if they had been made."""
    if prices is None:
        return None
    tokens = ((one.prompt_tokens, one.completion_tokens) for one in records)
    costs = [prices.cost(read, written) for read, written in tokens if read is not None and written is not None]
    if not costs:
        return None
    return {"total": sum(costs), "per_1000_questions": 1000 * sum(costs) / len(costs), "n": len(costs)}


def _context_figures(records: Sequence[Record], prices: Prices | None) -> dict[str, Any]:
    """Return the figures of one context; all means are over the answered questions."""
    answered = [record for record in records if record.answer is not None]
    return {
        "questions": len(records),
        "answered": len(answered),
        "failures": _reasons(records, "failure"),
        "judge_failures": _reasons(records, "judge_failure"),
        **{name: interval(_known(answered, name)) for name in _ACCURACIES},
        **{name: _mean(answered, name) for name in ("context_tokens", "prompt_tokens", "completion_tokens")},
        "cost": _cost(answered, prices),
    }


def _difference(first: Sequence[Record], second: Sequence[Record], name: str) -> dict[str, float] | None:
    """Return first minus second over the questions that have the figure with both contexts."""
    answered = (pair for pair in zip(first, second, strict=True) if all(one.answer is not None for one in pair))
    pairs = (_known(pair, name) for pair in answered)
    return interval([pair[0] - pair[1] for pair in pairs if len(pair) == 2])


def summarise(records: Sequence[Record], prices: Prices | None) -> dict[str, Any]:
    """Return the figures of all contexts and of each source, and the paired differences between contexts.

    There is a record for every question with every context. Without prices, costs are left out.
    """
    by_context = {name: [record for record in records if record.context == name] for name in CONTEXTS}
    compared = (*_ACCURACIES, "context_tokens")

    def of_source(source: str, context: ContextName) -> dict[str, Any]:
        own = [one for one in by_context[context] if one.source == source and one.answer is not None]
        return {"answered": len(own), **{name: _mean(own, name) for name in compared}}

    return {
        "contexts": {name: _context_figures(own, prices) for name, own in by_context.items()},
        "differences": {
            f"{a}-{b}": {name: _difference(by_context[a], by_context[b], name) for name in compared} for a, b in _PAIRS
        },
        "sources": {
            source: {context: of_source(source, context) for context in CONTEXTS}
            for source in dict.fromkeys(record.source for record in records)
        },
    }


def _cell(figures: dict[str, float] | None, sign: str = "") -> str:
    if figures is None:
        return ""
    return f"{figures['mean']:{sign}.3f} [{figures['low']:{sign}.3f}, {figures['high']:{sign}.3f}]"


def _number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def rag_table(report: dict[str, Any]) -> str:
    """Return a report of `run_rag` as Markdown: a table of the contexts and one of the paired differences."""
    priced = report["settings"]["prices"] is not None
    contexts, differences = [], []
    for name, figures in report["contexts"].items():
        cells = [name, str(figures["answered"]), str(figures["questions"] - figures["answered"])]
        cells += [_cell(figures[accuracy]) for accuracy in _ACCURACIES]
        cells += [_number(figures[tokens], ".0f") for tokens in ("context_tokens", "prompt_tokens")]
        cost = figures["cost"] and figures["cost"]["per_1000_questions"]
        contexts.append([*cells, _number(cost, ".4g")] if priced else cells)
    for name, figures in report["differences"].items():
        cells = [_cell(figures[accuracy], "+") for accuracy in _ACCURACIES]
        tokens = figures["context_tokens"] or {"n": 0, "mean": None}
        differences.append([name.replace("-", " - "), str(tokens["n"]), *cells, _number(tokens["mean"], "+.0f")])
    header = ["context", "answered", "failed", "EM", "F1", "judge", "context tokens", "prompt tokens"]
    return "\n\n".join(
        [
            markdown_table([*header, "cost / 1000 questions"] if priced else header, contexts),
            markdown_table(["same questions", "pairs", "EM", "F1", "judge", "context tokens"], differences),
            "Means over answered questions with 95% bootstrap intervals; tokens and costs are per question.",
        ]
    )
