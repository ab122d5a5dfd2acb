"""Export: torch weights to the two ONNX files that serving reads, each checked against torch before it is written."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.labelled.sources import labelled_sources
from secateur.models.backends import Backend
from secateur.models.backends.onnx import OnnxBackend
from secateur.models.backends.openvino import OpenVinoBackend
from secateur.models.backends.torch import TorchBackend
from secateur.models.batching import Batch, BatchLimits, make_batches
from secateur.models.checkpoint import (
    CONFIG,
    ONNX_FP16,
    ONNX_INT8,
    TOKENIZER,
    WEIGHTS,
    load_tokenizer,
    read_config,
    read_encoder_config,
)
from secateur.models.encoding import PairEncoder, Window
from secateur.models.errors import DataError, ExportError
from secateur.models.files import atomic_path
from secateur.models.merging import merge, window_outputs
from secateur.models.network import PruningNetwork, load_network
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.sums import check_sums, write_sums
from secateur.models.types import Passage

log = logging.getLogger(__name__)

CALIBRATION_PAIRS = 300
CHECK_PAIRS = 200
MIN_PAIRS = 100
MAX_BATCH_EFFECT = 1e-4
MAX_FLIPS = {"fp16": 0.005, "int8": 0.03}
_OPSET = 17
_UNLIMITED = 1 << 30  # tokens of a batch


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How faithful an ONNX file is.

    Attributes:
        file: Name of the file.
        runtime: Backend that ran it.
        flips: Share of units whose keep decision at the default threshold differs from torch.
        batch_effect: Largest difference of any probability between a window run alone and in a batch.
        megabytes: Size of the file.
    """

    file: str
    runtime: str
    flips: float
    batch_effect: float
    megabytes: float


class _Probabilities(nn.Module):
    """The network with sigmoid outputs, as in the ONNX files."""

    def __init__(self, network: PruningNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        relevance, keep = self.network(**dict(zip(self._names, inputs, strict=True)))
        return relevance.sigmoid(), keep.sigmoid()


class _EncodedPairs:
    """Real (query, passage) pairs, encoded with the tokenizer and settings of a model directory."""

    def __init__(self, directory: Path, pairs: Sequence[tuple[str, Passage]]) -> None:
        config = read_config(directory)
        self._encoder = PairEncoder(load_tokenizer(directory), config.window)
        self._pad_id = int(read_encoder_config(directory).get("pad_token_id") or 0)
        segmenter = get_segmenter(config.segmenter)
        self._passages = []
        for query, passage in pairs:
            query_ids, _ = self._encoder.encode_query(query, truncate=True)
            self._passages += self._encoder.encode(query_ids, [passage], [segment(passage, segmenter)])
        self.windows = [w for encoded in self._passages for w in encoded.running]

    def batches(self, limits: BatchLimits, windows: Sequence[Window] | None = None) -> list[Batch]:
        windows = self.windows if windows is None else windows
        return make_batches(windows, limits, pad_id=self._pad_id, passage_type=self._encoder.template.passage_type)

    def unit_scores(self, backend: Backend) -> NDArray[np.float64]:
        """Return float64[all units], keep probabilities."""
        batches = self.batches(backend.limits)
        outputs = iter(window_outputs(batches, backend.run_all(batches), backend.about))
        return np.concatenate(
            [merge(encoded, [next(outputs) for _ in encoded.running]).units for encoded in self._passages]
        )


def _sample_pairs(data: Path, count: int) -> list[tuple[str, Passage]]:
    """Return up to ``count`` pairs, evenly from all sources; their labels are not used."""
    rng = random.Random(0)
    sources = labelled_sources(data)
    share = -(-count // len(sources))
    sampled: list[tuple[str, Passage]] = []
    for source in sources:
        pairs = [
            (example.query, labelled.passage)
            for example in source.read()
            for labelled in example.passages
            if example.query.strip() and labelled.passage.text.strip()
        ]
        sampled += rng.sample(pairs, min(share, len(pairs)))
    rng.shuffle(sampled)
    if len(sampled) < MIN_PAIRS:
        raise DataError(f"{data}: export needs at least {MIN_PAIRS} (query, passage) pairs, it has {len(sampled)}")
    if len(sampled) < count:
        log.warning("%s: only %d (query, passage) pairs; export works best with %d", data, len(sampled), count)
    return sampled[:count]


def check_enough(data: Path) -> None:
    """Refuse data that is too small for an export, before a model is trained.

    Raises:
        DataError: it has too few pairs, or cannot be read.
    """
    _sample_pairs(data, MIN_PAIRS)


def _write_fp32(network: PruningNetwork, batch: Batch, path: Path) -> None:
    network.encoder.set_attn_implementation("eager")  # type: ignore[operator]
    optional = {"token_type_ids": network.uses_types, "unit_ids": network.reads_units}
    names = ["input_ids", "attention_mask", *(name for name, read in optional.items() if read)]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "keep"]} | {"relevance": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about shape checks that hold for every shape
        torch.onnx.export(
            _Probabilities(network, names),
            tuple(torch.from_numpy(getattr(batch, name)) for name in names),
            str(path),
            input_names=names,
            output_names=["relevance", "keep"],
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )


def _write_fp16(fp32: Path, path: Path) -> None:
    """Store weights in fp16 and compute in fp32.

    With fp16 arithmetic, sums round differently in batches of different shapes: a pair's probabilities then change by
    up to 1e-3 with its neighbours, ten times what is allowed.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(fp32)
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1:
            half = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{weight.name}.fp16")
            casts.append(helper.make_node("Cast", [half.name], [weight.name], to=TensorProto.FLOAT))
            weight.CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def _write_int8(fp32: Path, path: Path, pairs: _EncodedPairs) -> None:
    """Quantise statically (QDQ) with SmoothQuant, on real pairs."""
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    model = onnx.load(fp32)
    names = [node.name for node in model.graph.input]

    def feed(batch: Batch) -> dict[str, Any]:
        return {name: getattr(batch, name) for name in names}

    quantized = nncf.quantize(
        model,
        nncf.Dataset(pairs.batches(BatchLimits(rows=1, tokens=_UNLIMITED)), feed),
        subset_size=len(pairs.windows),
        model_type=nncf.ModelType.TRANSFORMER,
        # 7-bit weights: processors without VNNI add products of 8-bit values in 16 bits, which overflow.
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
    )
    onnx.save(quantized, path)


def _probabilities(
    backend: Backend, batches: Sequence[Batch], windows: Sequence[Window]
) -> Iterator[NDArray[np.float32]]:
    outputs = window_outputs(batches, backend.run_all(batches), backend.about)
    for window, output in zip(windows, outputs, strict=True):
        yield np.append(output.keep[window.text_start : window.text_start + len(window.token_unit)], output.relevance)


def _batch_effect(backend: Backend, pairs: _EncodedPairs) -> float:
    """Return the largest difference of any probability between a window run alone and in a batch, unsorted.

    A batch has 16 windows, or as many as the runtime ever puts into one.
    """
    windows = pairs.windows[:64]
    rows = min(16, backend.limits.rows)
    limits = replace(backend.limits, rows=rows)
    # Batches in the given order, so that short windows are padded to long ones.
    mixed = [
        replace(batch, rows=batch.rows + start)
        for start in range(0, len(windows), rows)
        for batch in pairs.batches(limits, windows[start : start + rows])
    ]
    alone = _probabilities(backend, pairs.batches(replace(limits, rows=1), windows), windows)
    return max(float(np.abs(a - b).max()) for a, b in zip(alone, _probabilities(backend, mixed, windows), strict=True))


def export(directory: Path, data: Path) -> list[ExportReport]:
    """Write the ONNX files of a model directory, and their sums.

    Args:
        directory: Trained model directory with fp32 weights.
        data: Labelled examples whose queries and passages calibrate the quantisation and check the files.

    Returns:
        A report for each file and runtime.

    Raises:
        DataError: there are too few pairs, or a file cannot be written.
        ExportError: a file is not faithful to the weights; nothing is written.
        ModelError: the weights, or the files beside them, differ from their sums.
    """
    check_sums(directory, (CONFIG, TOKENIZER, WEIGHTS))
    threshold = read_config(directory).threshold
    sampled = _sample_pairs(data, CALIBRATION_PAIRS + CHECK_PAIRS)
    cut = len(sampled) * CALIBRATION_PAIRS // (CALIBRATION_PAIRS + CHECK_PAIRS)
    calibration, check = _EncodedPairs(directory, sampled[:cut]), _EncodedPairs(directory, sampled[cut:])
    reference = check.unit_scores(TorchBackend(directory, "cpu")) >= threshold
    writers: list[tuple[str, str, Callable[[Path, Path], None], list[Callable[[Path, str], Backend]]]] = [
        ("fp16", ONNX_FP16, _write_fp16, [OnnxBackend, OpenVinoBackend]),
        ("int8", ONNX_INT8, lambda a, b: _write_int8(a, b, calibration), [OpenVinoBackend, OnnxBackend]),
    ]
    reports = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fp32 = folder / "model.onnx"
        _write_fp32(load_network(directory), check.batches(BatchLimits(rows=2, tokens=_UNLIMITED))[0], fp32)
        for precision, file, write, runtimes in writers:
            path = folder / Path(file).name
            log.info("writing %s", file)
            write(fp32, path)
            for runtime in runtimes:
                backend = runtime(path, precision)
                flips = float(((check.unit_scores(backend) >= threshold) != reference).mean())
                effect = _batch_effect(backend, check)
                report = ExportReport(file, backend.name, flips, effect, path.stat().st_size / 1e6)
                log.info("%s", report)
                _refuse_if_unfaithful(report, MAX_FLIPS[precision])
                reports.append(report)
        for _, file, _, _ in writers:
            with atomic_path(directory / file) as partial:
                shutil.copyfile(folder / Path(file).name, partial)
    write_sums(directory, changed=[file for _, file, _, _ in writers])
    return reports


def _refuse_if_unfaithful(report: ExportReport, max_flips: float) -> None:
    if report.flips > max_flips:
        raise ExportError(
            f"{report.file} on {report.runtime}: keep decisions differ from torch for {report.flips:.2%} of the units "
            f"of {CHECK_PAIRS} real pairs, more than {max_flips:.1%}; nothing was written"
        )
    if report.batch_effect > MAX_BATCH_EFFECT:
        raise ExportError(
            f"{report.file} on {report.runtime}: probabilities in a batch differ from those alone by up to "
            f"{report.batch_effect:.1e}, more than {MAX_BATCH_EFFECT:.0e}; nothing was written"
        )
