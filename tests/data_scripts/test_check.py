from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from secateur.data_scripts.check import CheckReport, check_data
from secateur.models.errors import DataError

TEXT = "Rome is old. Anna won the race. It rained."
SPAN = [13, 31]


def passage(**changes: Any) -> dict[str, Any]:
    return {"text": TEXT, "relevant_spans": [SPAN], "relevant": True} | changes


NEGATIVE = passage(text="Cats sleep. Dogs bark.", relevant_spans=[], relevant=False)


def check(tmp_path: Path, *rows: object) -> CheckReport:
    path = tmp_path / "data.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return check_data(path)


def fine(number: int = 0) -> dict[str, Any]:
    return {"id": f"fine{number}", "query": "Who won?", "passages": [passage(), NEGATIVE]}


def test_good_data_is_counted_and_passes(tmp_path: Path) -> None:
    report = check(tmp_path, fine(0), fine(1))
    (source,) = report.sources
    assert report.usable
    assert not source.problems.counts
    assert (source.queries, source.passages, source.relevant, source.units, source.kept) == (2, 4, 2, 8, 2)
    assert list(report.lines())[-1] == "the data can be used for training"


@pytest.mark.parametrize(
    ("row", "problem", "usable"),
    [
        ("{broken", "broken line", False),
        ({"id": "a", "query": "q", "passages": [passage(relevant_spans=[[0, 999]])]}, "broken line", False),
        ({"id": "fine0", "query": "Who?", "passages": [NEGATIVE]}, "repeated id", False),
        ({"id": "a", "query": "  ", "passages": [NEGATIVE]}, "blank query", True),
        ({"id": "a", "query": "q", "passages": []}, "no passages", True),
        ({"id": "a", "query": "q", "passages": [passage(text=" ", relevant_spans=[])]}, "passage without text", True),
        ({"id": "a", "query": "q", "passages": [passage(relevant_spans=[])]}, "relevant passage without a span", True),
        ({"id": "a", "query": "q", "passages": [passage(relevant_spans=[[12, 13]])]}, "span without text", True),
        ({"id": "a", "query": "q", "passages": [passage(relevant=False)]}, "irrelevant passage with spans", False),
        (
            {"id": "a", "query": "q", "passages": [passage(relevant_spans=[[0, len(TEXT)]])]},
            "passage labelled as a whole",
            True,
        ),
        ({"id": "a", "query": "q", "passages": [NEGATIVE, NEGATIVE]}, "repeated passage", True),
        (
            {"id": "a", "query": "q", "passages": [passage(), passage(relevant_spans=[], relevant=False)]},
            "repeated passage with another label",
            False,
        ),
    ],
)
def test_each_problem_is_named_with_its_place(tmp_path: Path, row: object, problem: str, usable: bool) -> None:
    report = check(tmp_path, fine(), row)
    (source,) = report.sources
    assert source.problems.counts[problem] == 1
    assert source.problems.places[problem][0].startswith("line 2")
    assert report.usable == usable
    assert any(problem in line for line in report.lines())


def test_only_the_first_places_are_named(tmp_path: Path) -> None:
    report = check(tmp_path, fine(), *["{"] * 40)
    assert report.sources[0].problems.counts["broken line"] == 40
    assert len(report.sources[0].problems.places["broken line"]) == 5


@pytest.mark.parametrize(
    ("passages", "said"),
    [
        ([NEGATIVE], "no passage is labelled as relevant"),
        ([passage()], "every passage is relevant"),
        ([], "there are no passages"),
    ],
)
def test_one_sided_data_cannot_be_trained_on(tmp_path: Path, passages: list[dict[str, Any]], said: str) -> None:
    report = check(tmp_path, {"id": "a", "query": "q", "passages": passages})
    assert not report.usable
    assert any(said in line for line in report.lines())


def test_a_skewed_set_is_warned_of(tmp_path: Path) -> None:
    negatives = [passage(text=f"Cats sleep {i} hours.", relevant_spans=[], relevant=False) for i in range(30)]
    report = check(tmp_path, {"id": "a", "query": "q", "passages": [passage(), *negatives]})
    assert report.usable
    assert any("97% of all passages are irrelevant" in line for line in report.lines())


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        check_data(tmp_path / "none.jsonl")


def test_a_broken_archive_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        check_data(path)


@pytest.mark.shared
def test_the_shared_development_data_can_be_trained_on(shared_data: Path) -> None:
    report = check_data(shared_data / "dev" / "selqa.jsonl.gz")
    assert report.usable, "\n".join(report.lines())
