"""Export: torch weights to the two ONNX files that serving reads, each proved faithful before it is written."""

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


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How faithful an ONNX file is.

    Attributes:
        file: its name.
        runtime: that ran it.
        flips: share of units whose keep decision at the default threshold differs from torch.
        batch_effect: largest change of any probability between a window run alone and in a batch.
        megabytes: its size.
    """

    file: str
    runtime: str
    flips: float
    batch_effect: float
    megabytes: float


class _Probabilities(nn.Module):
    """The network with the sigmoid inside, as the ONNX files have it."""

    def __init__(self, network: PruningNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        relevance, keep = self.network(**dict(zip(self._names, inputs, strict=True)))
        return relevance.sigmoid(), keep.sigmoid()


class _Pairs:
    """Real (query, passage) pairs, encoded.

    Args:
        directory: the model directory, whose tokenizer and settings are used.
        pairs: queries and passages.
    """

    def __init__(self, directory: Path, pairs: Sequence[tuple[str, Passage]]) -> None:
        config = read_config(directory)
        self.encoder = PairEncoder(load_tokenizer(directory), config.window)
        self.pad_id = int(read_encoder_config(directory).get("pad_token_id") or 0)
        segmenter = get_segmenter(config.segmenter)
        self.passages = []
        for query, passage in pairs:
            query_ids, _ = self.encoder.encode_query(query, truncate=True)
            units = segment(passage, segmenter)
            self.passages += self.encoder.encode(query_ids, [passage], [units])
        self.windows = [w for encoded in self.passages for w in encoded.running]

    def batches(self, limits: BatchLimits, windows: Sequence[Window] | None = None) -> list[Batch]:
        return make_batches(
            self.windows if windows is None else windows,
            limits,
            pad_id=self.pad_id,
            passage_type=self.encoder.template.passage_type,
        )

    def unit_scores(self, backend: Backend) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return float64[all units], keep probabilities."""
        batches = self.batches(backend.limits)
        outputs = iter(window_outputs(batches, backend.run_all(batches), backend.about))
        return np.concatenate(
            [merge(encoded, [next(outputs) for _ in encoded.running]).units for encoded in self.passages]
        )


def _draw(data: Path, count: int) -> list[tuple[str, Passage]]:
    """Draw up to ``count`` pairs, evenly from all sources; their labels are not used."""
    rng = random.Random(0)
    sources = labelled_sources(data)
    share = -(-count // len(sources))
    drawn: list[tuple[str, Passage]] = []
    for source in sources:
        pairs = [
            (example.query, labelled.passage)
            for example in source.read()
            for labelled in example.passages
            if example.query.strip() and labelled.passage.text.strip()
        ]
        drawn += rng.sample(pairs, min(share, len(pairs)))
    rng.shuffle(drawn)
    if len(drawn) < MIN_PAIRS:
        raise DataError(f"{data}: export needs at least {MIN_PAIRS} (query, passage) pairs, it has {len(drawn)}")
    if len(drawn) < count:
        log.warning("%s: has %d (query, passage) pairs, %d are better", data, len(drawn), count)
    return drawn[:count]


def check_enough(data: Path) -> None:
    """Refuse data by which no model can be exported, before one is trained for it.

    Raises:
        DataError: it has too few pairs, or cannot be read.
    """
    _draw(data, MIN_PAIRS)


def _write_fp32(network: PruningNetwork, batch: Batch, path: Path) -> None:
    network.encoder.set_attn_implementation("eager")  # type: ignore[operator]
    names = ["input_ids", "attention_mask"]
    names += [
        name for name, read in (("token_type_ids", network.uses_types), ("unit_ids", network.reads_units)) if read
    ]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "keep"]} | {"relevance": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shape checks that hold for every shape
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

    Computing in fp16 too rounds the sums of differently shaped batches apart: a pair's probabilities then move by up
    to 1e-3 with its neighbours, ten times what is allowed.
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


def _write_int8(fp32: Path, path: Path, pairs: _Pairs) -> None:
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
        nncf.Dataset(pairs.batches(BatchLimits(rows=1, tokens=1 << 30)), feed),
        subset_size=len(pairs.windows),
        model_type=nncf.ModelType.TRANSFORMER,
        # 7-bit weights: processors without VNNI add products of 8-bit values in 16 bits, which overflow.
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
    )
    onnx.save(quantized, path)


def _probabilities(
    backend: Backend, batches: Sequence[Batch], windows: Sequence[Window]
) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    outputs = window_outputs(batches, backend.run_all(batches), backend.about)
    for window, output in zip(windows, outputs, strict=True):
        yield np.append(output.keep[window.text_start : window.text_start + len(window.token_unit)], output.relevance)


def batch_effect(backend: Backend, pairs: _Pairs) -> float:
    """Return the largest change of any probability between a window run alone and among others, unsorted.

    The others are 15, or as many as the runtime ever puts into one batch.
    """
    windows = pairs.windows[:64]
    rows = min(16, backend.limits.rows)
    limits = replace(backend.limits, rows=rows)
    # Batches of the windows as they come, so that short ones stand beside long ones.
    mixed = [
        replace(batch, rows=batch.rows + start)
        for start in range(0, len(windows), rows)
        for batch in pairs.batches(limits, windows[start : start + rows])
    ]
    alone = _probabilities(backend, pairs.batches(replace(limits, rows=1), windows), windows)
    return max(float(np.abs(a - b).max()) for a, b in zip(alone, _probabilities(backend, mixed, windows), strict=True))


def export(directory: Path, data: Path) -> list[ExportReport]:
    """Write a model directory's ONNX files, and their sums.

    Args:
        directory: a trained model directory with fp32 weights.
        data: labelled examples whose queries and passages calibrate the quantisation and prove the files.

    Returns:
        A report for each file and runtime.

    Raises:
        ExportError: a file is not faithful; nothing is written, and the message says why.
        ModelError: the weights, or what belongs to them, differ from their sums.
    """
    check_sums(directory, (CONFIG, TOKENIZER, WEIGHTS))
    config = read_config(directory)
    drawn = _draw(data, CALIBRATION_PAIRS + CHECK_PAIRS)
    cut = len(drawn) * CALIBRATION_PAIRS // (CALIBRATION_PAIRS + CHECK_PAIRS)
    calibration, check = _Pairs(directory, drawn[:cut]), _Pairs(directory, drawn[cut:])
    reference = check.unit_scores(TorchBackend(directory, "cpu")) >= config.threshold
    writers: list[tuple[str, str, Callable[[Path, Path], None], list[Callable[[Path, str], Backend]]]] = [
        ("fp16", ONNX_FP16, _write_fp16, [OnnxBackend, OpenVinoBackend]),
        ("int8", ONNX_INT8, lambda a, b: _write_int8(a, b, calibration), [OpenVinoBackend, OnnxBackend]),
    ]
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "model.onnx"
        _write_fp32(load_network(directory), check.batches(BatchLimits(rows=2, tokens=1 << 30))[0], fp32)
        for precision, name, write, runtimes in writers:
            path = Path(folder) / Path(name).name
            log.info("writing %s", name)
            write(fp32, path)
            for runtime in runtimes:
                report = _report(name, path, runtime(path, precision), check, reference, config.threshold)
                log.info("%s", report)
                _refuse_if_unfaithful(report, MAX_FLIPS[precision])
                reports.append(report)
        for _, name, _, _ in writers:
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            shutil.copyfile(Path(folder) / target.name, partial)
            partial.replace(target)
    write_sums(directory, changed=[name for _, name, _, _ in writers])
    return reports


def _report(
    name: str,
    path: Path,
    backend: Backend,
    check: _Pairs,
    reference: np.ndarray[Any, np.dtype[np.bool_]],
    threshold: float,
) -> ExportReport:
    kept = check.unit_scores(backend) >= threshold
    return ExportReport(
        file=name,
        runtime=backend.name,
        flips=float((kept != reference).mean()),
        batch_effect=batch_effect(backend, check),
        megabytes=path.stat().st_size / 1e6,
    )


def _refuse_if_unfaithful(report: ExportReport, max_flips: float) -> None:
    if report.flips > max_flips:
        raise ExportError(
            f"{report.file} on {report.runtime} keeps other units than torch for {report.flips:.2%} of the units of "
            f"{CHECK_PAIRS} real pairs, more than {max_flips:.1%}; nothing was written"
        )
    if report.batch_effect > MAX_BATCH_EFFECT:
        raise ExportError(
            f"{report.file} on {report.runtime} gives a pair other probabilities in a batch than alone, by up to "
            f"{report.batch_effect:.1e}, more than {MAX_BATCH_EFFECT:.0e}; nothing was written"
        )
