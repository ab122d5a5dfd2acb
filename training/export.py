"""Export: torch weights to the two ONNX files that serving reads, each checked against torch before it is written."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.labelled.blocks import blocks
from secateur.labelled.sources import labelled_sources
from secateur.models.backends.onnx import OnnxBackend
from secateur.models.backends.openvino import OpenVinoBackend
from secateur.models.batching import Batch, BatchLimits, make_batches
from secateur.models.checkpoint import CONFIG, ONNX_FILES, TOKENIZER, WEIGHTS, read_config
from secateur.models.errors import DataError, ExportError
from secateur.models.files import atomic_path
from secateur.models.network import PruningNetwork, load_network
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.sums import check_sums, write_sums
from secateur.models.types import Passage
from secateur.training.scoring import SCORING, score_passages

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
    """How faithful an ONNX file is on a runtime, and its size.

    Attributes:
        flips: Share of units whose keep decision at the default threshold differs from torch.
        batch_effect: Largest difference of any probability between a window run alone and in a batch.
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


class _Pairs:
    """Real (query, passage) pairs, as a pruner reads and scores them."""

    def __init__(self, pairs: Sequence[tuple[str, Passage]], pruner: Pruner) -> None:
        self._queries = [(query, [passage]) for query, passage in pairs]
        self._pruner = pruner
        requests = [check_request(query, passages, SCORING) for query, passages in self._queries]
        encoded = [passage for request in requests for passage in pruner.encode(request).passages]
        self.windows = [window for passage in encoded for window in passage.running]

    def batches(self, rows: int) -> list[Batch]:
        """Return batches of ``rows`` windows, longest first."""
        passage_type = self._pruner.encoder.template.passage_type
        return make_batches(
            self.windows, BatchLimits(rows, _UNLIMITED), pad_id=self._pruner.pad_id, passage_type=passage_type
        )

    def unit_scores(self, pruner: Pruner) -> NDArray[np.float64]:
        """Return float64[all units], keep probabilities."""
        results = [result for found in score_passages(pruner, self._queries) for result in found]
        return np.array([unit.score for result in results for unit in result.units or ()])

    def batch_effect(self, pruner: Pruner) -> float:
        """Return the largest difference of any probability between a window run alone and in a batch, unsorted.

        A batch has 16 windows, or as many as the runtime ever puts into one, and pads short windows to long ones.
        """
        windows, rows = self.windows[:64], min(16, pruner.backend.limits.rows)
        mixed = (output for block in blocks(windows, rows) for output in pruner.run(block))
        effects = []
        for window, together in zip(windows, mixed, strict=True):
            (alone,) = pruner.run([window])
            text = slice(window.text_start, window.text_start + len(window.token_unit))
            effects.append(abs(alone.relevance - together.relevance))
            effects.append(float(np.abs(alone.keep[text] - together.keep[text]).max()))
        return max(effects)


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
    """Raise the `DataError` of data that is too small for an export, before a model is trained."""
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
    """Store weights in fp16 and compute in fp32: fp16 sums change by up to 1e-3 with the shape of the batch."""
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
    quantized = nncf.quantize(
        model,
        nncf.Dataset(pairs.batches(rows=1), lambda batch: {name: getattr(batch, name) for name in names}),
        subset_size=len(pairs.windows),
        model_type=nncf.ModelType.TRANSFORMER,
        # 7-bit weights: processors without VNNI add products of 8-bit values in 16 bits, which overflow.
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
    )
    onnx.save(quantized, path)


def export(directory: Path, data: Path) -> list[ExportReport]:
    """Write the ONNX files of a model directory with fp32 weights, and their sums.

    Args:
        directory: Trained model directory.
        data: Labelled examples whose queries and passages calibrate the quantisation and check the files.

    Raises:
        DataError: There are too few pairs, or a file cannot be written.
        ExportError: A file is not faithful to the weights; nothing is written.
        ModelError: The weights, or the files beside them, differ from their sums.
    """
    check_sums(directory, (CONFIG, TOKENIZER, WEIGHTS))
    config = read_config(directory)
    sampled = _sample_pairs(data, CALIBRATION_PAIRS + CHECK_PAIRS)
    cut = len(sampled) * CALIBRATION_PAIRS // (CALIBRATION_PAIRS + CHECK_PAIRS)
    torch_pruner = Pruner.load(directory, backend="torch", device="cpu", verify=False)
    calibration, check = _Pairs(sampled[:cut], torch_pruner), _Pairs(sampled[cut:], torch_pruner)
    reference = check.unit_scores(torch_pruner) >= config.threshold
    reports = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fp32 = folder / "fp32.onnx"
        _write_fp32(load_network(directory), check.batches(rows=2)[0], fp32)
        for precision, max_flips in MAX_FLIPS.items():
            file, path = ONNX_FILES[precision], folder / precision
            log.info("writing %s", file)
            if precision == "fp16":
                _write_fp16(fp32, path)
            else:
                _write_int8(fp32, path, calibration)
            for runtime in (OnnxBackend, OpenVinoBackend):
                backend = runtime(path, precision)
                pruner = Pruner(config, torch_pruner.encoder, backend, None, torch_pruner.pad_id)
                flips = float(((check.unit_scores(pruner) >= config.threshold) != reference).mean())
                size = path.stat().st_size / 1e6
                report = ExportReport(file, backend.name, flips, check.batch_effect(pruner), size)
                log.info("%s", report)
                _refuse_if_unfaithful(report, max_flips)
                reports.append(report)
        for precision, file in ONNX_FILES.items():
            with atomic_path(directory / file) as partial:
                shutil.copyfile(folder / precision, partial)
    write_sums(directory, changed=ONNX_FILES.values())
    return reports


def _refuse_if_unfaithful(report: ExportReport, max_flips: float) -> None:
    problem = ""
    if report.flips > max_flips:
        problem = f"keep decisions differ from torch for {report.flips:.2%} of the units, more than {max_flips:.1%}"
    elif report.batch_effect > MAX_BATCH_EFFECT:
        effect = f"{report.batch_effect:.1e}, more than {MAX_BATCH_EFFECT:.0e}"
        problem = f"probabilities in a batch differ from those alone by up to {effect}"
    if problem:
        raise ExportError(f"{report.file} on {report.runtime}: {problem}; nothing was written")
