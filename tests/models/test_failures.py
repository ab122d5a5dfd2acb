"""A runtime that fails, or says what cannot be a score: the call gets an error, and the next call works."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.models.backends import Backend, Output
from secateur.models.backends import openvino as openvino_backend
from secateur.models.backends.onnx import cuda_available
from secateur.models.batching import Batch, BatchLimits, make_batches
from secateur.models.encoding import Window
from secateur.models.errors import BackendUnusableError, RuntimeOutputError, SecateurError
from secateur.models.pruner import Pruner

QUERY = "Who built the tower?"
TEXTS = ["It rained. The tower was built by Eiffel.", "Bread is baked. It is brown."]
BACKENDS = ["openvino", "onnx", "torch"]
LONG = 4096  # tokens, more than any model here has positions


def too_long() -> Batch:
    """A batch that every runtime refuses while it runs."""
    ids = np.ones((1, LONG), dtype=np.int64)
    return Batch(np.arange(1), ids, ids, ids * 0, ids * 0 - 1)


def uneven() -> Batch:
    """A batch whose inputs do not have one shape."""
    return replace(too_long(), input_ids=np.ones((1, 32), np.int64), attention_mask=np.ones((1, 31), np.int64))


def of_floats() -> Batch:
    """A batch with a wrong type of number."""
    return replace(too_long(), input_ids=np.ones((1, LONG), dtype=np.float32))


@pytest.fixture(scope="module", autouse=True)
def _own_models(compiled_once: Callable[[Path, int], tuple[Any, Any]]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_backend, "open_queue", compiled_once)
        yield


@pytest.fixture(scope="module")
def loaded(shipped: Path, torch_model: Path) -> dict[str, Pruner]:
    return {
        name: Pruner.load(torch_model if name == "torch" else shipped, backend=name, device="cpu", threads=2)
        for name in BACKENDS
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [too_long, uneven, of_floats])
def test_a_call_after_a_failed_one_works(loaded: dict[str, Pruner], backend: str, bad: Callable[[], Batch]) -> None:
    pruner = loaded[backend]
    expected = [one.score for one in pruner.prune(QUERY, TEXTS).results]
    with pytest.raises(Exception) as failure:
        pruner.backend.run(bad())
    assert not isinstance(failure.value, SecateurError)
    assert [one.score for one in pruner.prune(QUERY, TEXTS).results] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failed_call_harms_no_other_thread(loaded: dict[str, Pruner], backend: str) -> None:
    pruner = loaded[backend]
    expected = [one.score for one in pruner.prune(QUERY, TEXTS).results]

    def call(number: int) -> list[float]:
        if number % 4 == 0:
            with pytest.raises(RuntimeError):
                pruner.backend.run(too_long())
            return expected
        return [one.score for one in pruner.prune(QUERY, TEXTS).results]

    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(call, range(8)):
            assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_runtime_that_cannot_be_opened_again_says_so_until_it_can(model_copy: Path) -> None:
    pruner = Pruner.load(model_copy, backend="openvino", device="cpu", threads=1)
    (model_copy / "onnx").rename(model_copy / "away")
    with pytest.raises(RuntimeError):
        pruner.backend.run(too_long())
    for _ in range(2):
        with pytest.raises(BackendUnusableError, match=r"model_.*\.onnx: cannot be opened again"):
            pruner.prune(QUERY, TEXTS)
    shutil.move(model_copy / "away", model_copy / "onnx")
    assert len(pruner.prune(QUERY, TEXTS).results) == 2


@dataclass
class Spoilt(Backend):
    """The real backend, whose outputs are changed."""

    real: Backend
    spoil: Callable[[Batch, Output], Output]

    def __post_init__(self) -> None:
        self.name, self.device = self.real.name, self.real.device
        self.precision, self.limits = self.real.precision, self.real.limits

    def run(self, batch: Batch) -> Output:
        return self.spoil(batch, self.real.run(batch))


def spoilt(pruner: Pruner, spoil: Callable[[Batch, Output], Output]) -> Pruner:
    backend = Spoilt(pruner.backend, spoil)
    return Pruner(pruner.config, pruner.encoder, backend, pruner.calibration, pruner.pad_id, pruner.directory)


def with_token(value: float, text: bool = True) -> Callable[[Batch, Output], Output]:
    """Put a value on the first token of a text, or on a special token."""

    def spoil(batch: Batch, output: Output) -> Output:
        keep = output.keep.copy()
        keep[0, int(np.flatnonzero(batch.unit_ids[0] >= 0)[0]) if text else 0] = value
        return Output(output.relevance, keep)

    return spoil


def with_relevance(value: float) -> Callable[[Batch, Output], Output]:
    return lambda batch, output: Output(np.full_like(output.relevance, value), output.keep)


WRONG = [np.nan, np.inf, -np.inf, 1.5, -0.5, 1e30]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("spoil", [with_token, with_relevance])
def test_what_is_no_probability_is_an_error(
    pruner: Pruner, spoil: Callable[[float], Callable[[Batch, Output], Output]], value: float
) -> None:
    with pytest.raises(RuntimeOutputError) as error:
        spoilt(pruner, spoil(value)).prune(QUERY, TEXTS)
    for part in (pruner.config.name, pruner.backend.name, pruner.backend.precision, "export"):
        assert part in str(error.value)


@pytest.mark.parametrize("value", [*WRONG, 0.5])
def test_what_stands_at_special_tokens_does_not_matter(pruner: Pruner, value: float) -> None:
    expected = [one.score for one in pruner.prune(QUERY, TEXTS).results]
    found = spoilt(pruner, with_token(value, text=False)).prune(QUERY, TEXTS).results
    assert [one.score for one in found] == pytest.approx(expected)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda batch, output: Output(output.relevance[:, None], output.keep),
        lambda batch, output: Output(output.relevance[:0], output.keep),
        lambda batch, output: Output(output.relevance, output.keep[:, :-1]),
        lambda batch, output: Output(output.relevance, output.keep[..., None]),
        lambda batch, output: Output(output.relevance, output.keep[0]),
        lambda batch, output: Output(output.keep, output.relevance),
    ],
)
def test_another_shape_is_an_error(pruner: Pruner, spoil: Callable[[Batch, Output], Output]) -> None:
    with pytest.raises(RuntimeOutputError, match="has shape"):
        spoilt(pruner, spoil).prune(QUERY, TEXTS)


def test_a_missing_output_is_an_error(staged: Callable[[Mapping[str, float]], Pruner]) -> None:
    pruner = staged({"yes": 0.9})
    run_all = pruner.backend.run_all

    def short(batches: Sequence[Batch]) -> list[Output]:
        return run_all(batches)[:-1]

    pruner.backend.run_all = short  # type: ignore[method-assign]
    with pytest.raises(RuntimeOutputError, match="0 outputs for 1 batches"):
        pruner.prune(QUERY, ["Yes."])


def test_weights_that_are_no_numbers_are_an_error(torch_model: Path, tmp_path: Path) -> None:
    """A real model gone bad, such as one that was trained until its loss was NaN."""
    from safetensors.torch import load_file, save_file

    directory = tmp_path / "spoilt"
    shutil.copytree(torch_model, directory)
    weights: dict[str, Any] = load_file(directory / "model.safetensors")
    save_file({name: tensor * np.nan for name, tensor in weights.items()}, directory / "model.safetensors")
    with pytest.raises(RuntimeOutputError, match=r"model 'tiny' \(torch .*nan"):
        Pruner.load(directory, backend="torch", device="cpu", verify=False).prune(QUERY, TEXTS)


def test_a_window_of_padding_alone_is_no_error(pruner: Pruner) -> None:
    window = Window(np.ones(4, np.int32), passage_start=2, text_start=3, token_unit=np.zeros(0, np.int32))
    (batch,) = make_batches([window], BatchLimits(rows=1, tokens=64), pad_id=0, passage_type=1)
    assert (batch.unit_ids < 0).all()
    assert 0 <= pruner.run([window])[0].relevance <= 1


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_sends_nothing_unless_the_user_lets_it(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if given is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given)
    cuda_available()  # what `Pruner.load` asks ONNX Runtime even if OpenVINO runs the model
    assert os.environ["ORT_DISABLE_TELEMETRY"] == expected
