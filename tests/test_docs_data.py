"""The shell blocks of the page on data, which build a dataset and train on it; see `support/doc_workflows.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_server import chat_server
from doc_workflows import reply, run_page

pytestmark = pytest.mark.e2e


def test_commands_do_what_the_page_says(tmp_path: Path, base_model: Path) -> None:
    with chat_server(reply) as language_model:
        run_page("docs/data.md", tmp_path, base_model, language_model.url)
