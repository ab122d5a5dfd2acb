"""Fixtures of the model tests: tokenizers, a model directory to break, a tiny torch checkpoint, staged scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from tiny_models import write_tiny_checkpoint
from tokenizers import Tokenizer

from secateur.models.backends import Backend, Output
from secateur.models.batching import Batch, BatchLimits
from secateur.models.checkpoint import CONFIG, TOKENIZER, load_tokenizer, read_config, resolve
from secateur.models.encoding import PairEncoder
from secateur.models.pruner import Pruner

# Wall time says nothing on a busy machine.
settings.register_profile("models", deadline=None)
settings.load_profile("models")


class StagedBackend(Backend):
    """Says of a token what was staged for its id; the passage's relevance is that of its best token.

    Args:
        keep: float32[vocabulary], keep probability of each token id.
    """

    name = "staged"
    device = "cpu"
    precision = "none"
    limits = BatchLimits(rows=4, tokens=4096)

    def __init__(self, keep: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._keep = keep

    def run(self, batch: Batch) -> Output:
        keep = self._keep[batch.input_ids]
        return Output(np.where(batch.token_type_ids == 1, keep, 0).max(axis=1), keep)


StagePruner = Callable[[Mapping[str, float]], Pruner]


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The directory of the shipped model."""
    return resolve(None)


@pytest.fixture(scope="session")
def tokenizer(shipped: Path) -> Tokenizer:
    """The shipped model's tokenizer, without its padding and truncation."""
    tokenizer = load_tokenizer(shipped)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.fixture(scope="session")
def small_encoder(shipped: Path) -> PairEncoder:
    """The shipped tokenizer with a window of 64, so that a few sentences fill it."""
    return PairEncoder(load_tokenizer(shipped), 64)


@pytest.fixture(scope="session")
def staged(shipped: Path) -> StagePruner:
    """Makes pruners that give the words of a mapping these keep probabilities, and all other tokens 0."""

    def make(words: Mapping[str, float]) -> Pruner:
        tokenizer = load_tokenizer(shipped)
        keep = np.zeros(tokenizer.get_vocab_size(), dtype=np.float32)
        for word, probability in words.items():
            keep[tokenizer.token_to_id(word)] = probability
        return Pruner(read_config(shipped), PairEncoder(tokenizer, 64), StagedBackend(keep), None, 0)

    return make


@pytest.fixture
def model_copy(shipped: Path, tmp_path: Path) -> Path:
    """A copy of the shipped model's directory that a test may break; its ONNX files are links."""
    directory = tmp_path / "model"
    (directory / "onnx").mkdir(parents=True)
    for name in (CONFIG, TOKENIZER):
        shutil.copyfile(shipped / name, directory / name)
    for file in (shipped / "onnx").glob("*.onnx"):
        (directory / "onnx" / file.name).symlink_to(file.resolve())
    return directory


@pytest.fixture
def edit_config(model_copy: Path) -> Callable[..., None]:
    """Changes settings in the `secateur` section of the copied model's configuration."""

    def edit(**changes: object) -> None:
        content = json.loads((model_copy / CONFIG).read_text(encoding="utf-8"))
        content["secateur"] |= changes
        (model_copy / CONFIG).write_text(json.dumps(content), encoding="utf-8")

    return edit


@pytest.fixture(scope="session")
def torch_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer checkpoint with random fp32 weights and the shipped tokenizer."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("torch") / "tiny", 256)
