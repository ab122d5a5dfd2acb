"""`calibration.json`: the threshold for each target recall, and the data that it was computed from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.json_files import read_json
from secateur.models.checkpoint import CALIBRATION, read_calibration
from secateur.models.files import write_atomically

_DIGITS = 5  # of bounds, losses and scores in the file


@dataclass(frozen=True, slots=True)
class Level:
    """The threshold for one target recall.

    Attributes:
        target_recall: Share of answering units that are kept on average, in (0, 1).
        threshold: Lowest keep probability of a kept unit, in [0, 1].
        bound: Upper bound of the expected loss, at most 1 - target_recall; None if unknown.
        loss: Mean loss on the calibration data; None if unknown.
    """

    target_recall: float
    threshold: float
    bound: float | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The content of `calibration.json`.

    Attributes:
        method: Name of the method that chose the thresholds.
        levels: Thresholds by rising recall.
        queries: Number of queries with an answer, by source.
        passages: Number of passages behind `score_quantiles`.
        score_quantiles: Quantiles of the passages' highest unit scores, at 0, 1, ... 100 percent.
        backend: Backend and precision that scored.
        titles: Whether the model read the passages' titles.
    """

    method: str
    levels: tuple[Level, ...]
    queries: dict[str, int]
    passages: int
    score_quantiles: tuple[float, ...]
    backend: str
    titles: bool

    @property
    def thresholds(self) -> dict[float, float]:
        """Thresholds by target recall, in ascending order of recall."""
        return dict(sorted((level.target_recall, level.threshold) for level in self.levels))

    @classmethod
    def read(cls, directory: Path) -> Calibration | None:
        """Read a model's calibration; None if the model has none.

        Raises:
            ModelError: the file is not valid.
        """
        if read_calibration(directory) is None:
            return None
        content: dict[str, Any] = read_json(directory / CALIBRATION)
        levels = (Level(*(row.get(name) for name in Level.__slots__)) for row in content["levels"])
        return cls(
            method=content.get("method", "unknown method"),
            levels=tuple(levels),
            queries=content.get("queries", {}),
            passages=content.get("passages", 0),
            score_quantiles=tuple(content.get("score_quantiles", ())),
            backend=content.get("backend", "an unknown backend"),
            titles=content.get("titles", True),
        )

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            DataError: it cannot be written.
        """
        content = asdict(self)
        for level in content["levels"]:
            level.update({name: round(level[name], _DIGITS) for name in ("bound", "loss") if level[name] is not None})
        content["score_quantiles"] = [round(value, _DIGITS) for value in self.score_quantiles]
        write_atomically(path, json.dumps(content, indent=1) + "\n")
