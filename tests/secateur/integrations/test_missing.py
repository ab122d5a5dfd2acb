"""A framework that is not installed: one line that names the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "package", "named", "extra"),
    [
        ("langchain", "langchain_core", "langchain-core", "langchain"),
        ("llama_index", "llama_index", "llama-index-core", "llama-index"),
        ("haystack", "haystack", "haystack-ai", "haystack"),
        ("mcp", "mcp", "mcp 2", "mcp"),
    ],
)
def test_the_line_names_the_command(module: str, package: str, named: str, extra: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\nfrom secateur import SecateurError\n"
        f"try: import secateur.integrations.{module}\nexcept SecateurError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{named} is not installed; run: pip install 'secateur[{extra}]'\n"


@pytest.mark.slow
def test_the_command_says_it_on_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['mcp'] = None\nfrom secateur.cli import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "secateur: error: mcp 2 is not installed; run: pip install 'secateur[mcp]'\n"
