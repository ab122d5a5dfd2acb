from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.segmenters import agreement, labelled_texts, measure_segmenters
from secateur.models.segmenters import get_segmenter


def test_agreement_counts_inner_boundaries() -> None:
    text = "One is here. Two is there. Three."
    found = agreement(get_segmenter(), [(text, [[0, 12], [13, 33]])])
    assert found.precision == 0.5
    assert found.recall == 1.0
    assert found.f1 == pytest.approx(2 / 3)


def test_only_texts_with_bounds_are_measured(tmp_path: Path) -> None:
    passages = [{"text": "A b. C d.", "sentences": [[0, 4], [5, 9]]}, {"text": "E f.", "sentences": None}]
    path = tmp_path / "toy.jsonl"
    path.write_text(json.dumps({"query": "q", "passages": passages}), encoding="utf-8")
    assert labelled_texts(path) == [("A b. C d.", [[0, 4], [5, 9]])]
    assert "nupunkt" in [row[0] for row in measure_segmenters(path).rows]


@pytest.mark.shared
def test_the_default_segmenter_agrees_with_labelled_bounds(shared_data: Path) -> None:
    texts = labelled_texts(shared_data / "dev" / "hotpotqa_part.jsonl.gz")
    assert agreement(get_segmenter(), texts).f1 > 0.97
