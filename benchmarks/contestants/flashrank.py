"""FlashRank with our base encoder, from local files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contestants.backbone import backbone_cross_encoder, backbone_onnx, backbone_onnx_int8
from benchmarks.contestants.base import MAX_TOKENS, Workplace
from benchmarks.workload import BenchRequest

_EXPORT: dict[str, Callable[[Path], Path]] = {"fp32": backbone_onnx, "int8": backbone_onnx_int8}
_FILE = "model.onnx"


def _lay_out(workplace: Workplace, precision: str) -> Path:
    """Put the files of the model where a `Ranker` looks for them; return that directory."""
    target = workplace.directory / f"flashrank-{precision}"
    if not (target / _FILE).is_file():
        exported = _EXPORT[precision](workplace.directory)
        shutil.copytree(
            backbone_cross_encoder(workplace.directory),
            target,
            ignore=shutil.ignore_patterns("*.safetensors"),
            dirs_exist_ok=True,
        )
        shutil.copyfile(exported, target / _FILE)
    return target


class FlashRank:
    """`flashrank.Ranker`. It runs all passages of a call as one batch, padded to the longest.

    Args:
        workplace: Directory of the model.
        precision: `fp32`, or `int8` by dynamic quantisation, as in FlashRank's own models of this architecture.
    """

    def __init__(self, workplace: Workplace, precision: str) -> None:
        from flashrank import Ranker, RerankRequest
        from flashrank.Config import model_file_map

        directory = _lay_out(workplace, precision)
        # Only models in this map can be loaded. Nothing is downloaded where the directory exists.
        model_file_map[directory.name] = _FILE
        self.precision = precision
        self._request: Any = RerankRequest
        self._ranker = Ranker(directory.name, str(directory.parent), max_length=MAX_TOKENS, log_level="WARNING")

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return a call of `rerank`."""

        def run() -> object:
            # A new list each time: `rerank` writes scores into the passages and sorts them.
            passages = [{"id": index, "text": text} for index, text in enumerate(request.passages)]
            return self._ranker.rerank(self._request(query=request.query, passages=passages))

        return run
