from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from secateur.eval.documents import update_document
from secateur.eval.report.markdown import render_markdown


def test_figures_have_their_intervals(metrics: dict[str, Any]) -> None:
    text = render_markdown(metrics)
    assert "0.761 [0.731, 0.781]" in text
    assert "0.930 [0.910, 0.950]" in text
    assert "| 1 | 900 | 0.980 [0.970, 0.990] | 0.70 |" in text
    assert "| typos | one typo in each fifth word | 0.700 | – | – | – | **−0.061 [−0.080, −0.040]** |" in text
    assert "| contracts | query too long | 3 |" in text
    assert "| secateur | secateur itself | nano, 23 MB |" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_it_says_where_the_first_system_does_not_win(metrics: dict[str, Any]) -> None:
    text = render_markdown(metrics)
    assert "`secateur` against `bm25`, area: significantly better on 1 of 2 sources." in text
    assert "Significantly WORSE on `tables` (−0.079 [−0.119, −0.039])." in text
    assert "No significant difference on `contracts` (+0.012 [−0.028, +0.052])." in text
    assert "| bm25 | area | +0.260 [+0.220, +0.300] | &lt;0.001 | significantly better |" in text
    assert "| tables | 0.652 | **0.731‡** | – |" in text
    assert "| contracts | **0.761** | 0.501 | 0.200† |" in text
    assert "| unanswerable | – | – | – |" in text


def test_a_win_everywhere_is_one_short_sentence(metrics: dict[str, Any]) -> None:
    metrics["comparisons"] = [row for row in metrics["comparisons"] if row["difference"] > 0.2]
    text = render_markdown(metrics)
    assert "against `bm25`, area: significantly better on all 1 sources." in text
    assert "WORSE" not in text


def test_a_cell_cannot_break_its_table(metrics: dict[str, Any]) -> None:
    assert "| machine | a \\| b |" in render_markdown(metrics)


@pytest.mark.parametrize(
    ("part", "nothing"), [("needle", None), ("robustness", None), ("skipped", {}), ("comparisons", [])]
)
def test_what_was_not_run_is_left_out(metrics: dict[str, Any], part: str, nothing: object) -> None:
    sections = render_markdown(metrics).count("\n## ")
    metrics[part] = nothing
    assert render_markdown(metrics).count("\n## ") == sections - 1


def test_documents_name_the_weights_and_mark_unseen_sources(metrics: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    metrics["setup"]["titles"] = True
    blocks = "".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in ("quality", "systems", "needle"))
    path.write_text(blocks, encoding="utf-8")
    update_document(str(path), metrics)
    text = path.read_text(encoding="utf-8")
    assert "| contracts | 60 | 0.761 |" in text
    assert "| tables° | 60 | 0.652 |" in text
    assert "° unseen source" in text
    assert "| secateur | secateur itself | nano, 23 MB | 0.761 [0.731, 0.781] |" in text
    assert "| secateur | 1 | 900 | 0.980 [0.970, 0.990] | 0.70 |" in text
