"""Whatever a text holds, the units of every format tile it, and what they need lies in the passage."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secateur.models.formats.auto import detect_format
from secateur.models.segmentation import FORMATS, segment
from secateur.models.selection import with_structure
from secateur.models.types import Passage, Unit
from secateur.models.visible import visible_text

NAMES = sorted(FORMATS)
MARKDOWN = """---
title: x
---
# Title

Some text. The parts are:

- one. Two **bold**
  more
  - sub [link](http://x.y/z_(a))

1. x

| a | b |
| - | - |
| c | d |

> quote
> more

```py
@d
def f(a):
    return [
        a,
    ]
```

    indented

<div>hi</div>

[ref]: http://x
***
"""
HTML = """<!doctype html><html><head><title>T</title><script>if (a<b) {"</div>"}</script></head><body>
<nav><a href=x>Home</a></nav><h1>Title <em>x</em></h1><p>One is <b>big. Two</b> is small.<p>Next:<ul><li>a<li>b
<ul><li>c</ul></ul><table><thead><tr><th>N<th>M</thead><tr><td>1<td><p>2</p></tr></table>
<table><tr><td><h2>In a cell</h2><p>a. B</p><td><table><tr><td>x</table></tr></table>
<a href=y title="a&nbsp;b"><div>b</div><h3>c</h3></a><pre>def f():
    x</pre><div hidden>no</div><!-- c --></body></html>"""
LINES = """NAME   READY
web-1  1/1

	at x
@@ -1 +1 @@
--- a/x
+++ b/x
-a
+b
redis:
  image: x
"""
JSON = json.dumps({"items": [{"id": i, "text": "w" * 90, "deep": {"a": [1, "}"]}} for i in range(3)]}, indent=1)
DOCUMENTS = [MARKDOWN, HTML, LINES, JSON, '{"a": 1}\n{"a": 2}\n']
PIECES = [
    *(
        "# ",
        "## ",
        "- ",
        "1. ",
        "> ",
        "```",
        "~~~\n",
        "| a | b |\n",
        "|--|--|\n",
        "    ",
        "\t",
        "***",
        "**",
        "[a](b)",
        "---\n",
    ),
    *(
        "<p>",
        "</p>",
        "<ul>",
        "<li>",
        "</li>",
        "<table>",
        "<tr>",
        "<td>",
        "</tr>",
        "</table>",
        "<h2>",
        "</h2>",
        "<div>",
        "</div>",
        "<a>",
        "</a>",
        "<script>",
        "<i hidden>",
        "</i>",
        "<b>",
        "</b>",
        "<!--",
        "-->",
        "<",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        '"',
        "\\",
        ":",
        "def f():\n",
        "@d\n",
        ")",
        "a. B",
        "word ",
        ".",
        "\n",
        "\r\n",
        "\r",
        "\n\n",
    ),
    *("\x00", "\u2028", "\x0c", "\ufeff", "é", "漢。", "😀", "&nbsp;"),
]


def assert_tiles(text: str, units: list[Unit]) -> None:
    assert [unit.start for unit in units] + [len(text)] == [0] + [unit.end for unit in units]
    assert all(unit.start < unit.end for unit in units)
    for unit in units:
        assert all(0 <= needed < len(units) for needed in unit.needs)
        ends = [unit.start, *(place for span in unit.hidden for place in span), unit.end]
        assert ends == sorted(ends)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=50).map("".join)))
@example(text="")
@example(text=" \n\n ")
def test_units_tile_any_text(name: str, text: str) -> None:
    assert_tiles(text, segment(Passage(text, format=name)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_units_tile_mutated_documents(name: str, document: str) -> None:
    rng = random.Random(7)
    for _ in range(40):
        text = document
        for _ in range(rng.randint(0, 6)):
            start, end = sorted(rng.randint(0, len(text)) for _ in range(2))
            end = min(end, start + 12)
            text = text[:start] + rng.choice(["", rng.choice(PIECES), text[start:end] * 2]) + text[end:]
        assert_tiles(text, segment(Passage(text, format=name)))


@pytest.mark.parametrize(
    ("document", "name"), list(zip(DOCUMENTS, ["markdown", "html", "lines", "json", "json"], strict=True))
)
def test_a_document_is_recognised(document: str, name: str) -> None:
    assert detect_format(document) == name


def units_of(text: str, name: str) -> list[Unit]:
    units = segment(Passage(text, format=name))
    assert_tiles(text, units)
    return units


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "<ul><li>" * 10_000 + "x",
        "<div>" * 10_000 + "x" + "</div>" * 10_000,
        "- " * 10_000 + "x",
        "".join("  " * (depth % 90) + "- x\n" for depth in range(10_000)),
        "one\r\ntwo\rthree\n\n\r\r\n" * 5_000,
        "a\x00b. C\x00 " * 10_000,
        "\tx\n" * 20_000 + "\t" * 100_000,
        "```\nx = 1\n" + "y = 2\n" * 20_000,
        "<p class='" * 20_000,
        "<!--" * 20_000,
        "[" * 100_000,
        '{"a":' * 20_000,
        '"\\' * 50_000,
        "cor-\n" * 20_000,
        "text that goes\n\nPage 3 of 12\n\x0con. " * 3_000,
        "A: This is. It is.\n" * 10_000,
        ":issue:`1` " * 10_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_text_is_tiled_at_once(text: str, name: str) -> None:
    """Work that grows with the square of the length would not end."""
    units_of(text, name)


def test_a_table_of_many_rows_has_one_header() -> None:
    units = units_of("| a | b |\n|---|---|\n" + "| x. Y z | 2 |\n" * 5_000, "auto")
    assert [(unit.kind, unit.needs) for unit in units] == [("table_header", ())] + [("table_row", (0,))] * 5_000


def test_a_line_of_five_megabytes_of_json_has_its_entries() -> None:
    row = {"text": "word " * 60}
    text = json.dumps([row] * (5_000_000 // len(json.dumps(row))))
    units = units_of(text, "auto")
    assert len(text) > 4_900_000
    assert detect_format(text) == "json"
    inner = [unit for unit in units if text[unit.start : unit.end].strip().startswith('"text"')]
    assert len(inner) == text.count('"text"')


def test_an_unclosed_fence_or_tag_reaches_to_the_end() -> None:
    assert [unit.kind for unit in units_of("```\na b\nc d", "markdown")] == ["markup", "code", "code"]
    assert [unit.kind for unit in units_of("<p>One.<script>let a; <p>no", "html")][-1] == "markup"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_each_kind_of_line_break_ends_a_line(newline: str) -> None:
    assert len(units_of(newline.join(["GET /a 200", "GET /b 404", "GET /c 500"]), "lines")) == 3


def test_a_chain_of_sentences_that_need_each_other_is_bounded() -> None:
    units = units_of("# A\n\n" + "This is it. " * 100, "markdown")
    longest = max(len(with_structure(units, index)) for index in range(len(units)))
    assert longest == 1 + 8 + 1  # itself, those before it, and the heading


@pytest.mark.parametrize("character", ["x", "\n", '{"a": 1},'])
def test_the_format_depends_on_the_first_characters_alone(character: str) -> None:
    head = "# Title\n\n" + "word " * 4_000
    assert len(head) > 20_000
    assert detect_format(head + character * 100_000) == detect_format(head) == "markdown"


HOSTILE = [
    "<a ",
    '<a "',
    "[[",
    "> ",
    "- ",
    "<div>",
    "</div><p>",
    "[a](",
    "`a",
    "a:\n ",
    '{"',
    "((",
    "\n\n",
    "|",
    "**",
    "a.[3]",
    "<!--",
    "<i hidden>a</i>",
    "<i hidden><p>",
    "<li>a:",
    "</b>a. ",
    "<b>a. B",
]


def test_what_an_inline_element_joins_needs_what_its_pieces_need() -> None:
    text = "<pre>class A:\n    <b>def f(self):\n        return 1</b>\n    def g(self):\n        return 2</pre>"
    units = segment(Passage(text, format="html"))
    assert [text[unit.start : unit.end].strip() for unit in units[1:4]] == [
        "class A:",
        "<b>def f(self):\n        return 1</b>",
        "def g(self):",
    ]
    assert [unit.needs for unit in units] == [(5,), (0,), (0, 1), (0, 1), (0, 3), (0,)]


@pytest.mark.parametrize(
    ("page", "read"),
    [
        ("<p>It costs <span hidden>four or</span> five.</p>", "It costs five."),
        ("<p>It costs <b style='color: red; display:none'>four. Or</b> five.</p>", "It costs five."),
        ("<p>It costs <span aria-hidden=true>a <span>b</span> c</span> five.</p>", "It costs five."),
        ("<div>It costs <span hidden><p>four</p> or</span> five.</div>", "It costs five."),
        ("<p>It costs <span hidden>four.<p>Five.</p>", "It costs Five."),
        ("<p>It costs <img hidden> five.</p>", "It costs five."),
        ("<p class='a hidden b' title='a hidden price'>It costs five.</p>", "It costs five."),
        ("<p>It costs <i title='the hidden price' data-hidden>five</i>.</p>", "It costs five ."),
        ("<p>AT&amp;T&rsquo;s caf&eacute; No&euml;l &lt;b&gt; R&D &alpha;</p>", "AT&T s cafe Noel b R&D &alpha;"),
        ("<nav>Home</nav><div role='navigation'>Up</div><p hidden=''>No</p><p>It costs five.</p>", "It costs five."),
    ],
)
def test_only_what_can_be_seen_is_read(page: str, read: str) -> None:
    units = units_of(page, "html")
    assert " ".join(visible_text(page, units).text.split()) == read


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear(piece: str) -> None:
    def seconds(name: str, count: int) -> float:
        text = piece * count
        started = time.process_time()
        segment(Passage(text, format=name))
        return time.process_time() - started

    for name in NAMES:
        short = min(seconds(name, 1_000) for _ in range(2))
        assert seconds(name, 8_000) < 24 * short + 0.5, name


def test_html_rows_are_whole_and_headings_need_those_above_them_alone() -> None:
    text = "<h1>A</h1><h2>B</h2><p>One.</p><h2>C</h2><table><tr><th>x</th></tr><tr><td>1</td><td>2</td></tr></table>"
    units = segment(Passage(text, format="html"))
    (row,) = [unit for unit in units if unit.kind == "table_row"]
    assert text[row.start : row.end] == "<tr><td>1</td><td>2</td></tr>"
    needed: set[int] = set()
    queue = [row]
    while queue:
        for index in set(queue.pop().needs) - needed:
            needed.add(index)
            queue.append(units[index])
    kept = "".join(text[unit.start : unit.end] for index, unit in enumerate(units) if index in needed or unit is row)
    assert kept == "<h1>A</h1><h2>C</h2><table><tr><th>x</th></tr><tr><td>1</td><td>2</td></tr></table>"
