"""The shell blocks of the docs that measure or serve; see `support/doc_workflows.py`.

`test_docs_data.py` and `test_docs_training.py` run those of the longest pages, and `test_docs.py` all other blocks.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_server import chat_server
from doc_blocks import workflow_pages
from doc_workflows import PREPARED, reply, run_page

pytestmark = pytest.mark.e2e

ELSEWHERE = ["docs/data.md", "docs/retraining.md", "docs/training.md"]


def test_every_page_has_what_its_commands_need() -> None:
    assert workflow_pages() == list(PREPARED)


@pytest.mark.parametrize("page", [page for page in PREPARED if page not in ELSEWHERE])
def test_commands_do_what_the_page_says(page: str, tmp_path: Path, base_model: Path) -> None:
    with chat_server(reply) as language_model:
        run_page(page, tmp_path, base_model, language_model.url)
