"""A new option is one line, and a new format one entry: each then appears everywhere, in a copy of the sources."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from secateur.models.options import option_markdown, option_table

ROOT = Path(__file__).parents[1]
OPTIONS = """\
    sparkle: Annotated[int, Option("Dummy.", 0, 9)] = 3
    glow: Annotated[tuple[str, ...], Option("Dummy list.", 1, 20)] = ()
"""

PRELUDE = """
import inspect, json, sys
import secateur
assert secateur.__file__.startswith({tree!r}), secateur.__file__

def refusal(call):
    try:
        call()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as a wheel lays them out, with two further options, one of them a list, and a further format."""
    tree = tmp_path_factory.mktemp("tree")
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    unwanted = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package, folder in sorted(setuptools["package-dir"].items()):
        shutil.copytree(ROOT / folder, tree.joinpath(*package.split(".")), ignore=unwanted, dirs_exist_ok=True)
    options, segmentation = (tree / "secateur" / "models" / name for name in ("options.py", "segmentation.py"))
    text = options.read_text(encoding="utf-8")
    options.write_text(text.replace("    threshold: Annotated[\n", f"{OPTIONS}    threshold: Annotated[\n", 1))
    head, registry = re.split(r"^(?=FORMATS\b)", segmentation.read_text(encoding="utf-8"), maxsplit=1, flags=re.M)
    segmentation.write_text(head + re.sub(r'"text": (\w+)', r'"text": \1, "glitter": \1', registry, count=1))
    return tree


def output_of(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    environment |= {"HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false", "NO_COLOR": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=tree.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def facts(tree: Path, code: str) -> Any:
    """Return what a program in the tree prints, as JSON, with `json.dump`."""
    return json.loads(output_of(tree, "-c", PRELUDE.format(tree=str(tree)) + code))


REST = """
from fastapi.testclient import TestClient
from secateur import Pruner
from secateur.service.app import create_app
from secateur.service.settings import Settings
app = create_app({"m": Pruner.load(device="cpu", threads=1)}, Settings())
body = {"query": "q", "passages": [{"text": "It rains.", "format": "glitter"}], "threshold": 0}
with TestClient(app, client=("127.0.0.1", 9)) as client:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    answers = [client.post("/v1/prune", json={**body, "sparkle": value}) for value in (5, 10)]
json.dump({
    "option": schemas["PruneBody"]["properties"]["sparkle"],
    "format": schemas["PassageBody"]["properties"]["format"],
    "answers": [[answer.status_code, answer.text] for answer in answers],
}, sys.stdout)
"""


@pytest.mark.slow
def test_the_rest_schema_has_them_and_accepts_them(tree: Path) -> None:
    found = facts(tree, REST)
    option = found["option"]
    assert (option["minimum"], option["maximum"]) == (0, 9)
    assert option["description"].startswith("Dummy.") and "3" in option["description"]
    assert {kind.get("type") for kind in option["anyOf"]} == {"integer", "null"}
    assert "glitter" in found["format"]["enum"]
    (accepted, _), (refused, problem) = found["answers"]
    assert (accepted, refused) == (200, 422) and "sparkle: 10 is out of range" in problem


LIBRARY = """
from secateur import AsyncClient, Client, Passage, PruneOptions, Pruner, PruneRequest
from secateur.client.wire import body, split
from secateur.models.options import option_markdown
from secateur.models.segmentation import check_format
pruner = Pruner.load(device="cpu", threads=1)
request = PruneRequest("q", (Passage("a", format="glitter"),), PruneOptions(sparkle=7, glow=("a", "b")))
json.dump({
    "signatures": [str(inspect.signature(kind.prune).parameters["sparkle"]) for kind in (Pruner, Client, AsyncClient)],
    "list": str(inspect.signature(Pruner.prune).parameters["glow"]),
    "body": json.loads(body(request, split(request)[0], None)),
    "markdown": option_markdown(),
    "refused": refusal(lambda: check_format("format", "other")),
    "out of range": refusal(lambda: pruner.prune("q", ["a"], sparkle=10)),
    "bad lists": [refusal(lambda: pruner.prune("q", ["a"], glow=value)) for value in ("a", ["a", ""], ["a", 5])],
    "kept": pruner.prune("q", [Passage("It rains. It snows.", format="glitter")], threshold=0, sparkle=9).text,
}, sys.stdout)
"""


@pytest.fixture(scope="session")
def library(tree: Path) -> Any:
    """What the library and its clients do in the tree."""
    return facts(tree, LIBRARY)


def test_the_library_and_the_clients_name_the_option(library: Any) -> None:
    assert library["signatures"] == ["sparkle: int = 3"] * 3
    assert library["list"] == "glow: tuple[str, ...] = ()"
    assert library["out of range"].startswith("InputError: sparkle: 10 is out of range")
    assert [one.partition(";")[0] for one in library["bad lists"]] == [
        "InputError: glow: 'a' is not a list",
        "InputError: glow[1]: has 0 characters",
        "InputError: glow[1]: 5 is not a string",
    ]


def test_a_client_sends_them(library: Any) -> None:
    assert (library["body"]["sparkle"], library["body"]["glow"]) == (7, ["a", "b"])
    assert library["body"]["passages"] == [{"text": "a", "format": "glitter"}]


def test_the_table_of_the_documentation_has_the_option(library: Any) -> None:
    assert "| `sparkle` | int | `3` | [0, 9] | Dummy. |\n" in library["markdown"]
    assert "| `glow` | list of str | `[]` | 1 to 20 characters | Dummy list. |\n" in library["markdown"]


def test_the_library_knows_the_format(library: Any) -> None:
    assert "glitter" in library["refused"] and library["kept"] == "It rains. It snows."


INTEGRATIONS = """
import asyncio
from langchain_core.documents import Document
from secateur.integrations.any_pruner import document_passage
from secateur.integrations.haystack import SecateurPruner
from secateur.integrations.langchain import SecateurCompressor
from secateur.integrations.llama_index import SecateurPostprocessor
from secateur.integrations.mcp import make_server
from secateur.integrations.settings import PruneSettings
kinds = (SecateurCompressor, SecateurPostprocessor, SecateurPruner)
tool, = asyncio.run(make_server(PruneSettings(sparkle=4, glow=("a",))).list_tools())
json.dump({
    "signatures": [
        str(inspect.signature(kind if kind is not SecateurPruner else kind.__init__).parameters["sparkle"])
        for kind in kinds
    ],
    "options": [kind(sparkle=8).options()["sparkle"] for kind in kinds[:2]],
    "lists": [kind(glow=["a"]).options()["glow"] for kind in kinds[:2]],
    "saved": [SecateurPruner(sparkle=8, glow=["a"]).to_dict()["init_parameters"][name] for name in ("sparkle", "glow")],
    "socket": "sparkle" in SecateurPruner().__haystack_input__._sockets_dict,
    "unknown": [refusal(lambda: kind(sparkles=8)) for kind in kinds],
    "tool": tool.input_schema["properties"]["sparkle"],
    "tool's list": tool.input_schema["properties"]["glow"],
    "format": document_passage("a", {"format": "glitter"}, PruneSettings()).format,
}, sys.stdout)
"""


@pytest.mark.slow
def test_the_integrations_accept_them(tree: Path) -> None:
    found = facts(tree, INTEGRATIONS)
    assert found["signatures"] == ["sparkle: int = 3"] * 3
    assert found["options"] == [8, 8] and found["lists"] == [["a"], ["a"]]
    assert found["saved"] == [8, ["a"]] and found["socket"]
    assert all(refusal and "sparkles" in refusal for refusal in found["unknown"])
    tool = found["tool"]
    assert [tool[key] for key in ("minimum", "maximum", "default", "description")] == [0, 9, 4, "Dummy."]
    tools_list = found["tool's list"]
    assert tools_list["items"] == {"type": "string", "minLength": 1, "maxLength": 20}
    assert [tools_list[key] for key in ("type", "default", "maxItems")] == ["array", ["a"], 100]
    assert found["format"] == "glitter"


@pytest.mark.parametrize("command", ["prune", "prune-corpus"])
def test_the_command_line_has_the_option(tree: Path, command: str) -> None:
    shown = output_of(tree, "-m", "secateur", command, "--help")
    assert "--sparkle" in shown and "Dummy." in shown
    assert re.search(r"--glow STR\.\.\. +Dummy list\. May be repeated\.", shown)
    assert "glitter" in shown or command == "prune-corpus"


def test_the_table_of_the_documentation_has_every_option() -> None:
    rows = option_markdown().splitlines()
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows[2:]] == list(option_table())
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
