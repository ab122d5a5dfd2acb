"""`calibration.json`: what is read from it, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.models.calibration import Calibration, Level
from secateur.models.checkpoint import CALIBRATION, resolve
from secateur.models.errors import ModelError


def test_a_model_without_calibration_has_none(tmp_path: Path) -> None:
    assert Calibration.read(tmp_path) is None


def test_a_calibration_maps_recall_to_threshold(tmp_path: Path) -> None:
    levels = [{"target_recall": 0.95, "threshold": 0}, {"target_recall": 0.9, "threshold": 0.05, "n": 500}]
    (tmp_path / CALIBRATION).write_text(json.dumps({"levels": levels, "alpha": 0.1}), encoding="utf-8")
    calibration = Calibration.read(tmp_path)
    assert calibration is not None
    assert calibration.thresholds == {0.9: 0.05, 0.95: 0.0}
    assert [calibration.threshold_for(recall) for recall in (0.5, 0.9, 0.91, 0.96)] == [0.05, 0.05, 0.0, None]


def test_the_shipped_calibration_is_written_as_it_was_read(tmp_path: Path) -> None:
    shipped = resolve(None)
    calibration = Calibration.read(shipped)
    assert calibration is not None and calibration.passages > 0 and len(calibration.score_quantiles) == 101
    calibration.write(tmp_path / CALIBRATION)
    assert (tmp_path / CALIBRATION).read_bytes() == (shipped / CALIBRATION).read_bytes()


def test_losses_and_scores_are_rounded_and_thresholds_are_not(tmp_path: Path) -> None:
    level = Level(target_recall=0.9, threshold=0.1234567, bound=0.0987654, loss=0.0123456)
    Calibration(levels=(level,), score_quantiles=(0.0123456, 1.0)).write(tmp_path / CALIBRATION)
    written = Calibration.read(tmp_path)
    assert written is not None
    assert written.levels == (Level(target_recall=0.9, threshold=0.1234567, bound=0.09877, loss=0.01235),)
    assert written.score_quantiles == (0.01235, 1.0)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{}", "levels"),
        ('{"levels": 3}', "levels"),
        ('{"levels": [0.9]}', r"levels\.0"),
        ('{"levels": ["0.9"]}', r"levels\.0"),
        ('{"levels": [{"target_recall": 0.9}]}', r"levels\.0\.threshold"),
        ('{"levels": [{"target_recall": "most", "threshold": 0.1}]}', r"levels\.0\.target_recall"),
        ('{"levels": [{"target_recall": 0.9, "threshold": null}]}', r"levels\.0\.threshold"),
        ('{"levels": [{"target_recall": 0.9, "threshold": 1.5}]}', r"levels\.0\.threshold"),
        ('{"levels": [{"target_recall": 90, "threshold": 0.1}]}', r"levels\.0\.target_recall"),
        ('{"levels": [{"target_recall": 0.9, "threshold": NaN}]}', r"levels\.0\.threshold"),
        ('{"levels": [{"target_recall": 0.0, "threshold": 0.1}]}', r"levels\.0\.target_recall"),
        ('{"levels": [{"target_recall": 0.9, "threshold": "0.1"}]}', r"levels\.0\.threshold"),
        ('{"levels": [{"target_recall": 0.9, "threshold": true}]}', r"levels\.0\.threshold"),
        ('{"levels": [], "score_quantiles": ["0.1"]}', r"score_quantiles\.0"),
        ('{"levels": [], "score_quantiles": [1.1]}', r"score_quantiles\.0"),
        ('{"levels": [], "titles": "yes"}', "titles"),
        ('{"levels": [], "queries": {"a": "many"}}', r"queries\.a"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / CALIBRATION).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{CALIBRATION}: wrong content: {named}: .*recalibrate"):
        Calibration.read(tmp_path)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([(0.9, 0.1), (0.9, 0.2)], "two thresholds"),
        ([(0.9, 0.1), (0.95, 0.2)], "is higher than"),
        ([(0.9, 0.1)] * 1001, "levels"),
    ],
)
def test_a_calibration_that_contradicts_itself_is_refused(
    tmp_path: Path, levels: list[tuple[float, float]], said: str
) -> None:
    content = {"levels": [{"target_recall": recall, "threshold": threshold} for recall, threshold in levels]}
    (tmp_path / CALIBRATION).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{CALIBRATION}: wrong content: .*{said}"):
        Calibration.read(tmp_path)
