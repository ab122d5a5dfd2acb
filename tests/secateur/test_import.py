"""What the public face offers, and that it costs nothing until it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import secateur

LOADED = """
import sys
before = set(sys.modules)
import {module}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new - set(sys.stdlib_module_names)))
"""


@pytest.mark.parametrize("module", ["secateur", "secateur.cli"])
def test_the_import_brings_nothing_but_the_standard_library(module: str, tmp_path: Path) -> None:
    # Away from the checkout, whose folders are not the package.
    command = [sys.executable, "-c", LOADED.format(module=module)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["secateur"]


@pytest.mark.slow
def test_help_imports_no_model_and_the_commands_import_no_extra(tmp_path: Path) -> None:
    code = "import sys; from secateur.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "tokenizers", "secateur.cli.use"} & set(done.stderr.split())
    extras = [
        "bm25s",
        "datasets",
        "httpx",
        "mcp",
        "openai",
        "onnxruntime",
        "pyarrow",
        "ray",
        "sklearn",
        "torch",
        "yaml",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras}))\n"
    code += "from secateur.cli import data, measure, train, use"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", secateur.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(secateur, name) is not None


def test_a_star_import_brings_every_public_name_once() -> None:
    names: dict[str, object] = {}
    exec("from secateur import *", names)
    assert set(secateur.__all__) <= set(names)
    assert len(set(secateur.__all__)) == len(secateur.__all__)


@pytest.mark.parametrize(
    ("name", "home"), [("Pruner", "secateur.models.pruner"), ("InputError", "secateur.models.errors")]
)
def test_a_public_name_is_the_one_of_its_home(name: str, home: str) -> None:
    assert getattr(secateur, name) is getattr(importlib.import_module(home), name)


def test_the_version_is_the_installed_one() -> None:
    assert secateur.__version__ == version("secateur")


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'secateur' has no attribute 'Prunner'"):
        _ = secateur.Prunner


def test_an_unknown_name_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="Prunner"):
        exec("from secateur import Prunner")
