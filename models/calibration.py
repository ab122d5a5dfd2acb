"""`calibration.json`: the keep threshold for each target recall, and the data it was computed from."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainSerializer, model_validator

from secateur.models.checkpoint import CALIBRATION, Content, Probability, read_json_object, validated
from secateur.models.files import is_model_file, write_atomically

_Rounded = PlainSerializer(lambda value: value if value is None else round(value, 5))  # in the file


class Level(Content):
    """The threshold for one target recall.

    Attributes:
        target_recall: Share of answering units that are kept on average, in (0, 1).
        threshold: Lowest keep probability of a kept unit, in [0, 1].
        bound: Upper bound of the expected loss, at most 1 - target_recall; None if unknown.
        loss: Mean loss on the calibration data; None if unknown.
    """

    target_recall: float = Field(gt=0, lt=1)
    threshold: Probability
    bound: Annotated[float | None, _Rounded] = None
    loss: Annotated[float | None, _Rounded] = None


class Calibration(Content):
    """The content of `calibration.json`. Unknown keys are ignored.

    Attributes:
        method: Name of the method that chose the thresholds.
        queries: Number of answerable queries by source.
        passages: Number of passages behind `score_quantiles`.
        score_quantiles: Of the highest unit score of each passage, at 0, 1, ... 100 percent.
        backend: Backend and precision that scored, e.g. `openvino int8`.
        titles: Whether passages were scored with their titles.
    """

    method: str = "unknown method"
    levels: tuple[Level, ...] = Field(max_length=1000, strict=False)
    queries: dict[str, int] = Field(default_factory=dict)
    passages: int = Field(0, ge=0)
    score_quantiles: tuple[Annotated[Probability, _Rounded], ...] = Field((), max_length=1001, strict=False)
    backend: str = "an unknown backend"
    titles: bool = True

    @model_validator(mode="after")
    def _check_order(self) -> Calibration:
        ordered = sorted((level.target_recall, level.threshold) for level in self.levels)
        for (lower, first), (higher, second) in pairwise(ordered):
            if lower == higher:
                raise ValueError(f"target_recall {lower} has two thresholds")
            if first < second:
                raise ValueError(f"threshold {second} of target_recall {higher} is higher than {first} of {lower}")
        return self

    @property
    def thresholds(self) -> dict[float, float]:
        """Thresholds by target recall, in ascending order of recall."""
        return dict(sorted((level.target_recall, level.threshold) for level in self.levels))

    def threshold_for(self, target_recall: float) -> float | None:
        """Return the threshold of the lowest level that reaches a target recall; None if no level does."""
        return next((threshold for recall, threshold in self.thresholds.items() if recall >= target_recall), None)

    @classmethod
    def read(cls, directory: Path) -> Calibration | None:
        """Read the calibration of a model directory; None if it has none."""
        path = directory / CALIBRATION
        if not is_model_file(path):
            return None
        fix = "recalibrate the model: secateur calibrate"
        return validated(read_json_object(path), cls, f"{path}: wrong content", fix=fix)

    def write(self, path: Path) -> None:
        """Write the file. The checksum of the model directory is not updated; see `models.sums.write_sums`."""
        write_atomically(path, json.dumps(self.model_dump(), indent=1) + "\n")
