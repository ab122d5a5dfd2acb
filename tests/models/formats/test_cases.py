"""Cases found on real documents: the unit that answers is kept, with what it needs to be read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from secateur.models.merging import PassageScores
from secateur.models.options import PruneOptions
from secateur.models.segmentation import format_of, segment
from secateur.models.selection import SelectablePassage, passage_result, select
from secateur.models.types import Passage


def kept(text: str, gold: str, name: str = "auto", **options: object) -> str:
    """Return what is kept of a text if the units that hold ``gold`` have a high score, and all others a low one."""
    passage = Passage(text, format=name)
    units = segment(passage)
    scores = np.asarray([0.9 if gold in text[unit.start : unit.end] else 0.01 for unit in units])
    assert scores.max() > 0.5, "no unit holds it"
    tokens = np.asarray([len(text[unit.start : unit.end].split()) for unit in units], dtype=np.int32)
    scored = SelectablePassage(0, passage, units, tokens, PassageScores(0.9, scores), format_of(passage))
    chosen = PruneOptions.of(**options)
    (selection,) = select([scored], chosen, 0.5)
    return passage_result(selection, chosen).text


def pieces(text: str, name: str = "auto") -> list[str]:
    return [text[unit.start : unit.end] for unit in segment(Passage(text, format=name))]


class Case(NamedTuple):
    """A document in a format, the text that answers in it, and what is kept."""

    name: str
    format: str
    text: str
    gold: str
    kept: str


TABLE = """| Model | Context | Note |
| --- | --- | --- |
| Alpha | 128k | Our largest model. It needs four GPUs. Text only. |
| Beta | 32k | Our small model. It needs one GPU. Text and images. |
| Gamma | 8k | Retired. It needed two GPUs. |"""
CHANGES = """-   Flags show their default only if it is true.
    :issue:`1971`
-   The ``Path`` type can check whether the target is executable.
    :issue:`1961`"""
RECIPE = """## Ingredients

- 3 cups of flour
- 2 eggs

## Directions

1. Mix everything. Stir well.
2. Bake at 180 °C for 40 minutes.
3. Let it cool.
4. Serve with jam."""
COLOURS = "## Colours\n\nWe use three.\n\n- red is for errors\n- green is for success"
COMPOSE = """services:
  redis:
    image: redis:7
    ports:
      - "6379:6379"
  web:
    image: nginx"""
TMUX = (
    "import tmux\n\ndef copymode(pane):\n    pane.enter()\n    return pane.mode\n\ndef other(pane):\n    return None\n"
)
STEPS = "# Setup\n\nIt is small. To install it:\n\n1. Download it.\n2. Unpack it.\n\nIt is done."
PAGE = "<h1>Setup</h1><p>It is small. To install it:</p><ul><li>Download it.</li><li>Unpack it.</li></ul><p>Done.</p>"
OPENING = "# Cache\n\nIt is old. The cache holds pages. This saves time. But it costs memory.\n\nMore follows."
CONTACTS = "name,price,stock\nWidget,10.00,5\nGadget,25.50,3"
QUOTED = 'id,note\n1,"red, small\nand cheap"\n2,"blue, large"\n3,green'
LOG = "2024-05-01 10:00:01 INFO start\n2024-05-01 10:00:02 ERROR no disk\n2024-05-01 10:00:03 INFO stop"
CHAT = "[17:22] <anna> is the server up\n[17:23] <bob> no it is down"
ONELINE = "a1b2c3d Fix the parser\n9f8e7d6 Add tests\n1234567 Update the docs\nabcdef0 Merge dev\n"
COMMITS = """commit 83c6a5da48acf159b2305f4ce13cc03a9d22df20
Author: Kenji Mori <kenji@example.com>
Date:   Wed Apr 6 01:06:37 2022 +0000

    Add a counter

commit 685711e2721b64d98f27b7c6095a437edbcccf3d
Author: Jonas Weber <jonas@example.com>
Date:   Fri Apr 1 15:56:20 2022 +0000

    Lock the counter
"""
DESCRIBE = """Name:         web-1
Namespace:    default
Containers:
  web:
    Image:          nginx:1.25
    State:          Waiting
      Reason:       CrashLoopBackOff
Events:
  Type     Reason     Age   Message
  Warning  BackOff    2m    Back-off restarting failed container"""
PYTEST = """=================================== FAILURES ===================================
____________________________________ test_b ____________________________________

    def test_b():
>       assert f(2) == 5
E       assert 4 == 5

tests/test_a.py:8: AssertionError
=========================== short test summary info ============================
FAILED tests/test_a.py::test_b - assert 4 == 5"""
SERVERS = """{
  "servers": [
    {"name": "alpha", "port": 8080, "tags": ["old", "slow"], "owner": "the first floor, on the left"},
    {"name": "beta", "port": 9090, "tags": ["new", "fast"], "owner": "the second floor, at the end"}
  ],
  "version": 3
}"""
CUT_SERVERS = SERVERS[: SERVERS.index("],\n  ")]
CHUNK = SERVERS[SERVERS.index('"port": 8080') :]
JSDOC = """/**
 * Adds two numbers, which may be negative, and returns what they are together.
 * @param {number} first - the first of the two numbers that are added here
 * @returns {number} the sum
 */
function add(first, second) {
  return first + second;
}"""

CASES = [
    Case(
        "a row with its header",
        "markdown",
        TABLE,
        "Beta",
        "\n".join([*TABLE.splitlines()[:2], TABLE.splitlines()[3]]),
    ),
    Case("a reference with its own item", "markdown", CHANGES, "1961", "\n".join(CHANGES.splitlines()[2:])),
    Case(
        "the heading of the step",
        "markdown",
        RECIPE,
        "180",
        "## Directions\n\n2. Bake at 180 °C for 40 minutes.",
    ),
    Case("a later sentence of an item", "markdown", RECIPE, "Stir", "## Directions\n\n1. Mix everything. Stir well."),
    Case("a line stays a line", "markdown", COLOURS, "red", "## Colours\n\n- red is for errors"),
    Case("the lead-in of a list", "markdown", STEPS, "Unpack", "# Setup\n\nTo install it:\n\n2. Unpack it."),
    Case(
        "the lead-in of a list in HTML",
        "html",
        PAGE,
        "Unpack",
        "<h1>Setup</h1><p> To install it:</p><ul> <li>Unpack it.</li></ul>",
    ),
    Case(
        "the lead-in of items without a list",
        "html",
        "<p>Other. Choose one:</p><div><li>Red</li><li>Blue</li></div><p>Done.</p>",
        "Blue",
        "<p> Choose one:</p><div> <li>Blue</li></div>",
    ),
    Case(
        "the term of a description",
        "html",
        "<dl><dt>find(text)</dt><dd><p>Looks for text. Returns a span.</p></dd><dt>cut()</dt><dd>Cuts.</dd></dl>",
        "Returns",
        "<dl><dt>find(text)</dt><dd><p> Returns a span.</p></dd> </dl>",
    ),
    Case(
        "the sentence before This",
        "markdown",
        OPENING,
        "saves",
        "# Cache\n\nThe cache holds pages. This saves time.",
    ),
    Case(
        "the sentences before But and This",
        "markdown",
        OPENING,
        "memory",
        "# Cache\n\nThe cache holds pages. This saves time. But it costs memory.",
    ),
    Case(
        "a line of front matter",
        "markdown",
        "---\ntitle: Caches\nlicence: MIT\n---\n\n# Usage\n\nCall it.\n\n## More\n\nBye.",
        "MIT",
        "---\nlicence: MIT\n---",
    ),
    Case(
        "raw HTML around Markdown",
        "markdown",
        "# Usage\n\n<details>\n<summary>More about caches</summary>\n\nThey are small.\n\n<br>\n\n</details>\n\nBye.",
        "caches",
        "# Usage\n\n<details>\n<summary>More about caches</summary>\n\n</details>",
    ),
    Case("the key of a setting", "lines", COMPOSE, "image: redis", "services:\n  redis:\n    image: redis:7"),
    Case(
        "all keys of a setting",
        "lines",
        COMPOSE,
        "6379",
        'services:\n  redis:\n    ports:\n      - "6379:6379"',
    ),
    Case("the signature of a function", "lines", TMUX, "pane.mode", "def copymode(pane):\n    return pane.mode"),
    Case("the names of columns", "lines", CONTACTS, "Gadget", "name,price,stock\nGadget,25.50,3"),
    Case("a cell of two lines", "lines", QUOTED, "cheap", 'id,note\n1,"red, small\nand cheap"'),
    Case("a line of a log", "lines", LOG, "ERROR", "2024-05-01 10:00:02 ERROR no disk"),
    Case("a line of a chat", "lines", CHAT, "down", "[17:23] <bob> no it is down"),
    Case("a commit of a log", "lines", ONELINE, "tests", "9f8e7d6 Add tests"),
    Case(
        "the commit of a message",
        "lines",
        COMMITS,
        "Lock",
        COMMITS[COMMITS.index("commit 68") :].replace("Author: Jonas Weber <jonas@example.com>\n", "").rstrip(),
    ),
    Case(
        "the reason of a state",
        "lines",
        DESCRIBE,
        "CrashLoop",
        "Containers:\n  web:\n    State:          Waiting\n      Reason:       CrashLoopBackOff",
    ),
    Case(
        "the test of an error",
        "lines",
        PYTEST,
        "E  ",
        f"{PYTEST.splitlines()[1]}\nE       assert 4 == 5",
    ),
    Case(
        "an entry of an array",
        "json",
        SERVERS,
        "beta",
        '{\n  "servers": [\n'
        '    {"name": "beta", "port": 9090, "tags": ["new", "fast"], "owner": "the second floor, at the end"}\n'
        "  ],\n}",
    ),
    Case(
        "an entry of an array that is cut",
        "json",
        CUT_SERVERS,
        "beta",
        '{\n  "servers": [\n'
        '    {"name": "beta", "port": 9090, "tags": ["new", "fast"], "owner": "the second floor, at the end"}',
    ),
    Case("an entry of a chunk", "json", CHUNK, '"version"', '  "version": 3\n}'),
    Case(
        "a line of JSDoc",
        "lines",
        JSDOC,
        "@returns",
        " * @returns {number} the sum",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_answers_is_kept_with_what_it_needs(case: Case) -> None:
    assert format_of(Passage(case.text)) == case.format
    assert kept(case.text, case.gold) == case.kept


def test_an_answer_stands_apart_from_the_next_question() -> None:
    assert pieces("A: Yes. It is free.\nQ: Is it fast?") == ["A: Yes. ", "It is free.\n", "Q: Is it fast?"]


def test_the_turns_of_a_conversation_stand_apart() -> None:
    text = "anna: is the server up\nbob: no it is down\nanna: since when"
    assert pieces(text) == ["anna: is the server up\n", "bob: no it is down\n", "anna: since when"]
    assert pieces("Note: it rained.\nWe stayed in. He said: no.") == [
        "Note: it rained.\n",
        "We stayed in. ",
        "He said: no.",
    ]


def test_it_is_is_no_pronoun() -> None:
    assert kept("# A\n\nOne is red. It is important to stop.", "stop") == "# A\n\nIt is important to stop."


def test_plain_text_keeps_no_structure_unless_asked_to() -> None:
    text = "The parts of it are\nthese, which we need:\n- one\n- two\n\nThe end of it."
    assert kept(text, "two", "text") == "- two"
    assert kept(text, "two", "text", keep_structure=True) == "The parts of it are\nthese, which we need:\n- two"


@pytest.mark.parametrize(
    "text",
    ["…by the physicist\nJ. Smith in a paper", "…reluctantly\n— to defuse", "…on November\n11. It had"],
)
def test_prose_is_no_list(text: str) -> None:
    assert [(unit.kind, unit.end) for unit in segment(Passage(text))] == [("sentence", len(text))]


def test_a_name_with_an_initial_begins_a_sentence() -> None:
    text = "M. Dupont est arrivé. Il a mangé."
    assert [(unit.kind, text[unit.start : unit.end]) for unit in segment(Passage(text))] == [
        ("sentence", "M. Dupont est arrivé. "),
        ("sentence", "Il a mangé."),
    ]


def test_the_lines_of_jsdoc_are_no_items() -> None:
    assert {unit.kind for unit in segment(Passage(JSDOC))} == {"line"}
    assert {unit.kind for unit in segment(Passage(JSDOC[: JSDOC.index("function")]))} == {"line"}


def test_numbers_of_sections_images_and_calls_are_not_cut() -> None:
    assert pieces("2.5. Why is it slow?") == ["2.5. Why is it slow?"]
    assert pieces("![Board](a.png)") == ["![Board](a.png)"]
    assert pieces("click.confirm('Do you want to continue?'):") == ["click.confirm('Do you want to continue?'):"]


def test_blanks_to_fill_in_and_censored_text_are_prose() -> None:
    assert (
        format_of(Passage("By: ______________\nName: ____________\nThis ends on _____ and the rest goes on.")) == "text"
    )
    assert format_of(Passage("It pays [**] upon [**] to us; (b) US$*****; (c) US$**.")) == "text"
