"""The shell blocks of the pages on training; see `support/doc_workflows.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_workflows import run_page

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("page", ["docs/retraining.md", "docs/training.md"])
def test_commands_do_what_the_page_says(page: str, tmp_path: Path, base_model: Path) -> None:
    run_page(page, tmp_path, base_model, "no page asks a language model")
