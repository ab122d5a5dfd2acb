from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import rendering, structure
from benchmarks.defects import html_defects, html_problems, markdown_defects
from benchmarks.texts import FORMATS, read_texts
from secateur.models.errors import DataError

MARKDOWN = "# Title\n\nOne.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- x\n  - y\n\n```py\nz\n```\n"
HTML = "<h1>Title</h1><p>One. <b>Two.</b></p><table><tr><td>1</table><ul><li>x<li>y</ul>"
TEXTS = {
    "prose": "One. Two.",
    "markdown": MARKDOWN,
    "html": HTML,
    "code": "def f():\n    return 1\n",
    "logs": "10:00 a\n10:01 b\n",
    "json": '{"a": [1, 2]}',
}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for kind, text in TEXTS.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "one.txt").write_text(text, encoding="utf-8")
    return tmp_path


def defects_of(source: str, *pieces: str) -> Counter[str]:
    spans = [(start := source.index(piece), start + len(piece)) for piece in pieces]
    check = markdown_defects if source == MARKDOWN else html_defects
    return check(source, "".join(pieces), spans)


@pytest.mark.parametrize(
    ("source", "pieces", "found"),
    [
        (
            MARKDOWN,
            ["# Title\n\n", "| a | b |\n|---|---|\n", "| 1 | 2 |\n\n", "- x\n", "  - y\n\n", "```py\nz\n```"],
            {},
        ),
        (MARKDOWN, ["| 1 | 2 |"], {"orphan table row": 1}),
        (MARKDOWN, ["```py\nz\n"], {"fence left open": 1}),
        (MARKDOWN, ["One.\n", "# Title"], {}),
        (MARKDOWN, ["# Title", "One."], {"paragraph as h1": 1}),
        (MARKDOWN, ["- x\n", "One."], {"block inside of a list": 1}),
        (HTML, ["<h1>Title</h1>", "<ul><li>x", "</ul>"], {}),
        (HTML, ["<h1>Title"], {"<h1> not closed": 1}),
        (HTML, ["<li>x"], {"orphan <li>": 1}),
        (HTML, ["<tr>", "<td>1"], {"orphan <tr>": 1}),
        (HTML, ["Two.</b>"], {"stray </b>": 1}),
    ],
)
def test_defects_are_found(source: str, pieces: list[str], found: dict[str, int]) -> None:
    assert defects_of(source, *pieces) == Counter(found)


def test_defects_of_the_source_do_not_count() -> None:
    assert html_problems("<li>a</b>") == [(0, "orphan <li>"), (5, "stray </b>")]
    assert html_defects("<li>a</b>", "<li>a</b>", [(0, 9)]) == Counter()
    assert markdown_defects("```\na", "```\na", [(0, 5)]) == Counter()


def test_a_missing_kind_of_text_is_named(texts: Path) -> None:
    (texts / "json" / "one.txt").unlink()
    with pytest.raises(DataError, match="json: no text to measure with"):
        read_texts(texts, "json")


def test_every_format_is_timed(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "ROUNDS", 2)
    rows = structure.measure_structure(texts).rows
    assert [row[:3] for row in rows] == [[kind, format, "1"] for kind, format in FORMATS.items()]
    assert [row[4] for row in rows] == ["2", "9", "16", "2", "2", "1"]


def test_kept_pages_are_counted(texts: Path) -> None:
    rows = rendering.measure_rendering(texts).rows
    assert [row[:3] for row in rows] == [
        ["markdown", "random", "1"],
        ["markdown", "random, with gap markers", "1"],
        ["markdown", "the model's", "1"],
        ["html", "random", "1"],
        ["html", "random, with gap markers", "1"],
        ["html", "the model's", "1"],
    ]
    assert all(row[-2:] == ["0", "–"] for row in rows)
    assert int(rows[0][3]) > 0 < int(rows[0][4])
