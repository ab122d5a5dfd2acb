from __future__ import annotations

import numpy as np
import pytest

from secateur.eval.rag.prompts import ContextName
from secateur.eval.rag.report import Record, interval, rag_table, summarise
from secateur.llm.budget import Prices
from secateur.llm.endpoint import Failed
from secateur.models.errors import InputError


def record(number: int, context: ContextName, f1: float | None, tokens: int = 0, **more: object) -> Record:
    answer = None if f1 is None else "x"
    exact = None if f1 is None else float(f1 == 1)
    return Record(
        "s",
        str(number),
        "q",
        ("x",),
        context,
        tokens,
        answer,
        exact_match=exact,
        f1=f1,
        **more,  # type: ignore[arg-type]
    )


def test_an_interval_holds_its_mean_and_is_reproducible() -> None:
    values = np.random.default_rng(1).integers(0, 2, size=400).astype(float).tolist()
    figures = interval(values)
    assert figures == interval(values)
    assert figures is not None
    assert figures["low"] < figures["mean"] < figures["high"]
    # The normal approximation of a share: 1.96 standard errors to each side.
    error = 1.96 * (figures["mean"] * (1 - figures["mean"]) / 400) ** 0.5
    assert figures["high"] - figures["low"] == pytest.approx(2 * error, rel=0.1)


def test_an_interval_of_equal_values_has_no_width_and_of_none_is_none() -> None:
    assert interval([0.5] * 7) == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 7}
    assert interval([]) is None


def test_pairs_are_of_the_same_questions() -> None:
    records = [
        *(record(1, "full", 1.0, 90), record(1, "pruned", 0.5, 30), record(1, "none", 0.0)),
        *(record(2, "full", None, failure=Failed("timeout", "")), record(2, "pruned", 1.0, 50), record(2, "none", 0.0)),
    ]
    figures = summarise(records, None)
    assert figures["contexts"]["full"]["failures"] == {"timeout": 1}
    assert figures["contexts"]["full"]["answered"] == 1
    assert figures["contexts"]["pruned"]["f1"]["mean"] == 0.75
    assert figures["differences"]["pruned-full"]["f1"] == {"mean": -0.5, "low": -0.5, "high": -0.5, "n": 1}
    assert figures["differences"]["pruned-full"]["context_tokens"]["mean"] == -60
    assert figures["differences"]["pruned-none"]["f1"]["n"] == 2
    assert figures["contexts"]["none"]["judge"] is None


def test_costs_follow_the_prices_and_say_for_how_many() -> None:
    records = [
        record(1, "full", 1.0, prompt_tokens=1000, completion_tokens=10),
        record(2, "full", 1.0),
    ]
    records += [record(number, name, 1.0) for number in (1, 2) for name in ("pruned", "none")]
    figures = summarise(records, Prices(2.0, 10.0))["contexts"]
    assert figures["full"]["cost"] == {"total": pytest.approx(0.0021), "per_1000_questions": pytest.approx(2.1), "n": 1}
    assert figures["pruned"]["cost"] is None


def test_a_negative_price_is_an_error() -> None:
    with pytest.raises(InputError, match=r"prices\.output"):
        Prices(1.0, -1.0)


def test_a_table_of_nothing_but_failures_still_stands() -> None:
    records = [record(1, name, None, failure=Failed("empty", "")) for name in ("full", "pruned", "none")]
    table = rag_table({"settings": {"prices": {"input": 1, "output": 1}}, **summarise(records, Prices(1, 1))})
    assert "| full | 0 | 1 |" in table
