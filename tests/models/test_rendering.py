"""What is kept of Markdown and HTML renders as in the page: no torn table, list or heading, no open fence or tag."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser

from benchmarks.defects import html_defects, html_problems, markdown_defects
from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.segmentation import segment
from secateur.models.selection import SelectablePassage, passage_result, select
from secateur.models.types import Passage, PassageResult

MARKDOWN = """Tool
====

[![build](https://x.y/b.svg)](https://x.y) A tool. It does one thing. It
does it well. 2024. It was written.

## Install

Run one of:

1. `pip install tool`. It needs Python.
   A newer one is better. Is it fast?

   Wheels are there. Are they signed? Yes, they
   are signed.
2. From source:

   ```sh
   git clone x

   make
   ```
3. Others
    1. conda
    2. brew. It is
       slow.
    5. apt
4. Nothing.

## Options
Every option has a default. Some have two. - none has three.

| name | default |
| ---- | ------- |
| `a`  | 1       |
| `b`  | 2       |
| `c`  |         |

Notes follow. They are short:
- one
- two
  - two and a half. With more.

    A paragraph inside. And a second sentence.
- three

> Quoted words. More of them.
>
> A second paragraph. It ends here.
> - listed in it
>
> ```
> code in it
> more
> ```

The code is indented:

    def f():
        return 1

    # comment

<details>
<summary>More</summary>

Hidden words. See [the reference][ref].

</details>

~~~
~~~

```py
def g(
    a,
):
    return a

class A:
    b = 1
```

Last words. 3. It ended.

***

[ref]: https://x.y/ref "title"
"""
HTML = """<!doctype html>
<html><head><title>Tool</title><style>p { color: red }</style></head>
<body><nav><ul><li><a href="/">Home</a></li></ul></nav>
<script>if (a < b) { document.write("</div><table>"); }</script>
<main><h1 id="top">Tool <small>v2</small></h1>
<p>It does <b>one thing. Well</b>. It is small.
<p>An open paragraph. Two sentences.
<h2>Install</h2>
<p>Run one of:</p>
<ul><li>pip. It needs Python.<li>conda<ol><li>first<li>second</ol><li><p>brew.</p><p>It is slow.</p></ul>
<table><caption>Options</caption><thead><tr><th>name<th>default</thead>
<tbody><tr><td>a</td><td>1</td></tr><tr><td>b<td>2<tr><td>c</td><td><ul><li>x</li></ul></td></tr></tbody></table>
<table><tr><td><h2>Layout</h2><p>Words in a cell. More words.</p><td><table><tr><td>in<td>ner</table></tr></table>
<pre><code>def f():
    return 1

x = f()
</code></pre>
<dl><dt>term<dd>meaning. More of it.<dt>other</dt><dd>one</dd></dl>
<a href="/all"><div>A linked block</div><div>another</div></a> <button hidden><svg><path d="M0"/></svg> Top</button>
<blockquote><p>Quoted. Twice.</p></blockquote><div style="display: none"><p>No</p></div>
<select><option>x<option>y</select><br>after<hr>
</main></body></html>
"""
AT_ENDS = "[… {lines} lines omitted]"
MARKERS = [None, AT_ENDS]
SEEDS = range(80)
RENDERED = MarkdownIt("commonmark").enable("table")


def kept(
    text: str, format: str, scores: Callable[[str], float], threshold: float, marker: str | None = None
) -> PassageResult:
    """Return what is kept of a text for scores of its units' texts."""
    page = Passage(text, format=format)
    units = segment(page)
    values = np.asarray([scores(text[unit.start : unit.end]) for unit in units])
    tokens = np.ones(len(units), dtype=np.int32)
    scored = SelectablePassage(0, page, units, tokens, PassageScores(0.0, values), format)
    options = PruneOptions(gap_marker=marker, gap_marker_ends=marker == AT_ENDS)
    return passage_result(select([scored], options, threshold)[0], options)


def kept_at_random(text: str, format: str, seed: int, marker: str | None) -> PassageResult:
    rng = random.Random(seed)
    return kept(text, format, lambda unit: rng.random(), rng.uniform(0.4, 1), marker)


@pytest.mark.parametrize("marker", MARKERS)
def test_kept_markdown_renders(marker: str | None) -> None:
    rows = 0
    for seed in SEEDS:
        found = kept_at_random(MARKDOWN, "markdown", seed, marker)
        assert markdown_defects(MARKDOWN, found.text, found.spans) == Counter(), (seed, found.text)
        html = RENDERED.render(found.text)
        assert "| --" not in html and "```" not in html and "~~~" not in html, (seed, found.text)
        rows += html.count("<tr>")
    assert rows > 100


@pytest.mark.parametrize("marker", MARKERS)
def test_kept_html_parses(marker: str | None) -> None:
    rows = 0
    for seed in SEEDS:
        found = kept_at_random(HTML, "html", seed, marker)
        assert html_defects(HTML, found.text, found.spans) == Counter(), (seed, found.text)
        tree = LexborHTMLParser(found.text)
        for name in ("tr", "li", "dt", "dd", "h1", "h2", "pre"):  # a parser leaves out what stands alone
            assert len(tree.css(name)) == found.text.count(f"<{name}>") + found.text.count(f"<{name} "), (seed, name)
        rows += len(tree.css("tr"))
    assert rows > 100


def test_the_page_itself_is_well_formed() -> None:
    assert html_problems(HTML) == []


@pytest.mark.parametrize(
    ("source", "words", "text"),
    [
        ("# A\n\nOne. Two.\n\nThree.", ["Three"], "# A\n\nThree."),
        ("# A\nOne. Two.", ["Two"], "# A\nTwo."),
        ("One.\nTwo.\n\nThree.", ["Three"], "Three."),
        ("Steps:\n1. a\n2. b\n3. c", ["c"], "Steps:\n\n3. c"),
        ("1. a\n    1. b\n    2. c", ["c"], "1. a\n\n    2. c"),
        ("- a\n- b\n- c", ["a", "c"], "- a\n- c"),
        ("> One. Two.\n> Three. Four.", ["Four"], "> One.\nFour."),
        ("```py\na\n```\n\n```sh\nb\n```", ["b"], "```sh\nb\n```"),
    ],
)
def test_what_stands_between_kept_markdown(source: str, words: list[str], text: str) -> None:
    assert kept(source, "markdown", lambda unit: any(word in unit for word in words), 0.5).text == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("| a |\n|---|\n| 1 |\n| 2 |\n| 3 |", "| a |\n|---|\n| 1 |\n[…]\n| 3 |"),
        ("- w 1\n  - 2\n  - w 3", "- w 1\n  […]\n  - w 3"),
        ("w 1.\n\n2\n\nw 3.", "w 1.\n\n[…]\n\nw 3."),
        ("- w 1\n\n  ```\n  w 1\n  2\n  w 3\n  ```", "- w 1\n\n  ```\n  w 1\n  […]\n  w 3\n  ```"),
    ],
)
def test_a_gap_marker_interrupts_nothing(source: str, text: str) -> None:
    assert kept(source, "markdown", lambda unit: "2" not in unit, 0.5, "[…]").text == text
