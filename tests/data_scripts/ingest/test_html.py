from __future__ import annotations

import time

import pytest

from secateur.data_scripts.ingest.html import html_text
from secateur.models.segmentation import segment
from secateur.models.types import Passage

N = 20_000


def test_html_keeps_its_blocks_and_drops_what_is_no_text() -> None:
    page = html_text(
        "<title>A &amp; \n b</title><style>x{}</style><nav>Home</nav><h1>Head</h1>Some <b>bold</b>ly\n said.<p>x<br>y"
        "<ul><li></li><li>one<li><p>two</ul><table><tr><td>1<td>2<tr><td>3</table><pre>  a\n   b</pre><!-- c -->"
        "<script>bad()</script><p>1 &lt; 2"
    )
    assert page.title == "A & b"
    assert page.text.split("\n\n") == [
        "Head",
        "Some boldly said.",
        "x\ny",
        "- one",
        "- two",
        "1 | 2",
        "3",
        "  a\n   b",
        "1 < 2",
    ]
    assert len(segment(Passage(page.text))) == 9


def test_html_without_a_title_takes_its_heading() -> None:
    assert html_text("<h1>Head</h1>").title == "Head"
    assert html_text("").text == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "<ul><li>" * N + "x",
        "<ul><li>a" * N + "</ul>" * N,
        "<div>" * N + "x" + "</div>" * N,
        "<blockquote>" * N + "x",
        "<table><tr><td>" * N + "x",
        "<dl><dd>x" * N,
        "<nav>" * N + "x",
        "<pre>x" * N,
        "<span>" * N + "<p>x" * N,
        "<x-y>" * N + "<p>x" * N,
        "<svg>" * N + "<p>x" * N,
        "".join(f"<b id={n}>" for n in range(N)) + "<p>x" * N,
        "<div><b id=1></div>" * N + "<p>x" * N,
        "<table><tr>" + "<td>x" * N,
        "<a" * N,
        "<!--" * N,
    ],
    ids=lambda page: page[:12],
)
def test_nested_html_takes_time_in_proportion(page: str) -> None:
    started = time.process_time()
    html_text(page)
    # About a second at most; 30 and more where each tag walks over all that are open.
    assert time.process_time() - started < 10


def test_flattening_keeps_blocks_and_text() -> None:
    depth = 2000
    page = html_text("<div><b>a</b> c" * depth + "</div>d" * depth)
    assert page.text.split("\n\n") == ["a c"] * depth + ["d"] * depth
    # Tags that do not nest, or are closed by their parents, change nothing.
    paths = "<svg>" + "<path d=x/>" * 2000 + "</svg>"
    rest = "<nav>menu</nav><ul>" + "<li>one" * 2000 + "</ul><p>x <b>y</b>"
    assert html_text(paths + rest).text.split("\n\n") == ["- one"] * 2000 + ["x y"]
