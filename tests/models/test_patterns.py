"""What `always_keep` and `never_keep` find."""

from __future__ import annotations

import pytest

from secateur.models.errors import InputError
from secateur.models.patterns import check_entries, matching_units
from secateur.models.segmentation import segment
from secateur.models.types import Passage, Unit

LOG = """2026-01-05 10:00:01 INFO started worker 1
2026-01-05 10:00:02 INFO 0 errors so far
2026-01-05 10:00:03 ERROR cannot open file
Traceback (most recent call last):
  File "a.py", line 3, in <module>
    main()
ValueError: bad

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 9, in run
    raise
KeyError: 'x'
done
process exited with code 137
process exited with code 0
"""


def found(text: str, *entries: str, format: str = "lines") -> list[str]:
    units = segment(Passage(text, format=format))
    return [text[units[i].start : units[i].end].strip() for i in sorted(matching_units(text, units, entries))]


def test_errors_are_lines_exit_statuses_and_whole_tracebacks() -> None:
    lines = [line.strip() for line in LOG.splitlines() if line.strip()]
    assert found(LOG, "errors") == [*lines[2:12], "process exited with code 137"]


@pytest.mark.parametrize(
    "text",
    [
        "java.lang.Exception: boom\n\tat com.x.A.b(A.java:3)\n\t... 12 more\nCaused by: java.io.EOFException: x\n",
        "TypeError: x is undefined\n    at f (a.js:1:2)\n    at g (a.js:3:4)\n",
        "E       assert 1 == 2\nFAILED tests/test_a.py::test_b - assert 1 == 2\n",
        "npm ERR! code ELIFECYCLE\nmake: *** [Makefile:3: test] Error 2\n",
        "panic: runtime error: index out of range\ngoroutine 1 [running]:\n",
    ],
)
def test_errors_of_other_languages_are_found(text: str) -> None:
    assert found(f"all well\n{text}all well again\n", "errors") == [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    "line", ["0 failed, 3 passed", "no errors", "mirror and terror", "fail-safe mode on", "exit 0"]
)
def test_no_error_is_found_where_there_is_none(line: str) -> None:
    assert found(line, "errors") == []


def test_numbers_are_digits_but_no_list_labels() -> None:
    text = "1. Mix everything.\n2. Bake for 40 minutes.\nServe with jam.\n"
    assert found(text, "numbers", format="text") == ["2. Bake for 40 minutes."]


def test_text_is_looked_for_as_it_is_and_may_touch_two_units() -> None:
    text = "One. Two (a.b). Three. Four."
    assert found(text, "a.b", format="text") == ["Two (a.b)."]
    assert found(text, "axb", format="text") == []
    assert found(text, "Three. F", format="text") == ["Three.", "Four."]


def test_patterns_see_lines_and_code_points() -> None:
    assert found("日本\nab\n日c\n", "re:^日.$") == ["日本", "日c"]
    assert found("ab\ncd\n", "re:x*") == []
    assert found("ab\ncd\n", "re:(?i)AB", "cd") == ["ab", "cd"]


def test_hidden_text_and_markup_are_not_read() -> None:
    text = "<p class='error'>fine</p>"
    units = [Unit(0, 17, "markup", (), ((0, 17),)), Unit(17, 25, "sentence", (), ((21, 25),))]
    assert matching_units(text, units, ["errors", "error", "</p>"]) == set()
    assert matching_units(text, units, ["fine"]) == {1}


@pytest.mark.parametrize("pattern", ["re:(", "re:(?=x)", "re:(a)\\1", "re:a{1001}"])
def test_a_pattern_that_is_not_valid_names_its_entry_as_it_was_given(pattern: str) -> None:
    check_entries("always_keep", ["(", "errors"])
    with pytest.raises(InputError, match=r"always_keep\[1\]: .*RE2") as error:
        check_entries("always_keep", ["x", pattern])
    assert "(?m)" not in str(error.value)


def test_a_broken_word_is_found_whole() -> None:
    text = "The cor-\npus of well-\nknown texts. It is read."
    units = segment(Passage(text, format="text"))
    for entry in ("corpus", "well-known", "re:corpus of", "errors"):
        assert matching_units(text, units, [entry]) == ({0} if entry != "errors" else set())
    assert matching_units(text, units, ["It"]) == {1}
    page = "<p>The cor&shy;pus.</p><p>It is read.</p>"
    units = segment(Passage(page, format="html"))
    assert [page[units[n].start : units[n].end] for n in matching_units(page, units, ["corpus"])] == [
        "The cor&shy;pus."
    ]


def test_a_pattern_that_would_backtrack_is_linear() -> None:
    assert found("a" * 100_000 + "!", "re:(a*)*b", format="text") == []
