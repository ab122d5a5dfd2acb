"""The code blocks of the README and the docs, and the command lines of a shell block."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models" / "pretrained").rglob("README.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, the line that it begins at, and why it is not run, if so."""

    line: int
    language: str
    code: str
    reason: str | None


def blocks(name: str, language: str | None = None) -> list[Block]:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [
        Block(text.count("\n", 0, match.start("language")) + 1, match["language"], match["code"], match["reason"])
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def with_blocks(language: str) -> list[str]:
    return [name for name in NAMES if any(not block.reason for block in blocks(name, language))]


def commands(code: str) -> Iterator[list[list[str]]]:
    """Yield each command line of a shell block as its pipeline: a list of commands, each a list of words."""
    pending = ""
    for line in code.splitlines(keepends=True):
        pending += line
        with contextlib.suppress(ValueError):  # a quotation that goes on
            words = list(_words(pending))
            if not pending.endswith("\\\n"):
                pending = ""
                yield from _pipelines(words)
    assert not pending, f"a quotation does not end: {pending}"


def _words(text: str) -> Iterator[str]:
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return iter(lexer)


def _pipelines(words: list[str]) -> Iterator[list[list[str]]]:
    pipeline: list[list[str]] = [[]]
    remaining = iter(words)
    for word in remaining:
        if word == "|":
            pipeline.append([])
        elif word in (">", "<"):
            next(remaining)
        elif word == "&":
            pass
        else:
            assert not set(word) <= set("();&|<>"), f"{word!r} in a shell block: use lines of their own"
            pipeline[-1].append(word)
    if pipeline != [[]]:
        yield pipeline


def runs(block: Block) -> bool:
    """Whether a shell block prunes or asks a service, in seconds; others train, measure, build data or serve."""
    quick = (["cat"], ["echo"], ["printf"], ["curl"], ["secateur", "prune"], ["secateur", "prune-corpus"])
    return all(
        words[: 2 if words[0] == "secateur" else 1] in quick for pipeline in commands(block.code) for words in pipeline
    )


def is_benchmark(block: Block) -> bool:
    """Whether a shell block runs benchmarks, which take minutes and have tests of their own."""
    return all(pipeline[0][:3] == ["python", "-m", "benchmarks"] for pipeline in commands(block.code))


def workflow_blocks(name: str) -> list[Block]:
    """Return the shell blocks of a page that are run, and take long."""
    found = [block for block in blocks(name, "bash") if not block.reason and not runs(block)]
    return [block for block in found if not is_benchmark(block)]


def workflow_pages() -> list[str]:
    """Return the pages of the docs that have such blocks."""
    return [name for name in NAMES if name.startswith("docs/") and workflow_blocks(name)]
