"""The runnable examples, as a user runs them: complete small RAGs beside a loopback generator.

Beside them, the table of versions in ``docs/integrations.md`` and the output that ``docs/structure.md`` shows:

``SECATEUR_UPDATE_DOCS=1 pytest tests/secateur/integrations/test_examples.py`` rewrites both.
"""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from chat_server import Loopback, chat_server, completion
from live_server import Server

from secateur.labelled.markdown_blocks import markdown_table, rewrite_block

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
DOCUMENT = ROOT / "docs" / "integrations.md"
STRUCTURE = ROOT / "docs" / "structure.md"

FRAMEWORKS = {
    "LangChain": ("langchain-core", "langchain-classic", "langgraph"),
    "LlamaIndex": ("llama-index-core",),
    "Haystack": ("haystack-ai",),
    "MCP": ("mcp",),
    "client": ("httpx",),
}
RAGS = {"LangChain": "langchain_rag", "LlamaIndex": "llama_index_rag", "Haystack": "haystack_rag"}

RunExample = Callable[..., str]


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def generator() -> Iterator[Loopback]:
    """A generator that knows an answer only when it stands in the prompt's context."""
    answers = {line["question"]: line["answer"] for line in lines("rag_questions.jsonl")}

    def behave(body: dict[str, Any], number: int) -> dict[str, Any]:
        message = body["messages"][-1]["content"]
        prompt = message if isinstance(message, str) else "".join(part["text"] for part in message)
        (answer,) = {answer for question, answer in answers.items() if question in prompt}
        return completion(answer if answer in prompt else "I do not know", prompt_tokens=1, completion_tokens=1)

    with chat_server(behave) as server:
        yield server


@pytest.fixture
def run(service_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunExample:
    """Runs an example as a script, away from the checkout, and returns what it prints.

    All run in this process, so that torch and the embedder are imported once.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SECATEUR_API_KEY", service_key)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", list(arguments))
        with redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(EXAMPLES / f"{arguments[0]}.py"), run_name="__main__")
        return printed.getvalue()

    return run


def account(printed: str) -> tuple[int, int, float, int, int]:
    """Return right answers full and pruned, retention, and tokens full and pruned."""
    right = re.search(r"right answers: full (\d+), pruned (\d+)", printed)
    kept = re.search(r"answer retention: (\d+)%", printed)
    tokens = re.search(r"context tokens: full (\d+), pruned (\d+)", printed)
    assert right and kept and tokens, printed
    return int(right[1]), int(right[2]), int(kept[1]) / 100, int(tokens[1]), int(tokens[2])


@pytest.mark.parametrize("framework", RAGS)
def test_a_small_rag_keeps_its_answers_and_saves_tokens(
    framework: str, run: RunExample, generator: Loopback, request: pytest.FixtureRequest
) -> None:
    """With the model in the process, and for LangChain on a live service."""
    where = ["--url", request.getfixturevalue("service").url] if framework == "LangChain" else []
    full, _, retention, tokens, fewer = account(run(RAGS[framework], "--base-url", generator.url, *where))
    assert full == len(lines("rag_questions.jsonl"))
    assert retention >= 0.9
    assert fewer < 0.5 * tokens


def test_the_client_example(run: RunExample, service: Server) -> None:
    printed = run("client", "--url", service.url)
    assert printed.startswith("served: secateur-nano-en\n[1] Eiffel Tower\n")
    assert "completed in March 1889" in printed and "opened in August 1793" in printed
    assert printed.endswith("with the service down, 3 passages came back whole\n")


def test_the_example_of_structured_texts(run: RunExample) -> None:
    printed = run("structure")
    shown = f"```text\n{printed.rstrip()}\n```"
    if os.environ.get("SECATEUR_UPDATE_DOCS"):
        rewrite_block(STRUCTURE, "structure-example", shown)
    assert shown in STRUCTURE.read_text(encoding="utf-8")
    _, readme, page, log, table = re.split(r"^(?=.*\?\n.+: \w+, lines )", printed, flags=re.M)
    assert "| Setting | Default | Meaning |\n| --- | --- | --- |\n| `interval` | `60` |" in readme
    assert "readme.md: markdown, lines " in readme and "## Calibration" not in readme
    assert "api.html: html, lines " in page and "within 30 minutes" in page and "</html>" in page
    assert "analytics" not in page and "Pricing" not in page and "quantity" not in page
    assert "pytest.log: lines, lines " in log and "lines omitted]" in log
    assert "FAILED tests/test_levels.py::test_level_from_echo_time" in log and "rootdir" not in log
    assert "stock.csv: lines, lines 1-1, " in table and "B-210,Float switch for salt water,18.00,EUR,75" in table
    assert "A-100" not in table


def test_the_mcp_example(run: RunExample) -> None:
    assert "completed in March 1889" in run("mcp_client")


def test_the_table_of_versions_is_fresh() -> None:
    versions = [[name, ", ".join(f"{p} {version(p)}" for p in packages)] for name, packages in FRAMEWORKS.items()]
    table = markdown_table(("integration", "tested with"), versions)
    if os.environ.get("SECATEUR_UPDATE_DOCS"):
        rewrite_block(DOCUMENT, "versions", table)
    assert table in DOCUMENT.read_text(encoding="utf-8")
