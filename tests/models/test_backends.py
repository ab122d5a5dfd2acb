"""Runtimes give a pair the same probabilities whoever else is in the batch, and say clearly why they cannot run."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.models.backends import choice, load_backend
from secateur.models.backends.onnx import cuda_available
from secateur.models.checkpoint import CONFIG, ONNX_FP16, ONNX_INT8, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError, ModelError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.registry import ModelChoice
from secateur.models.types import Passage, PruneRequest, PruneResult

RUNTIMES = ["openvino int8", "openvino fp16", "onnx int8", "onnx fp16", "torch"]
PARAGRAPHS = [
    "The Eiffel Tower is a lattice tower on the Champ de Mars in Paris. It was built by the company of Gustave Eiffel "
    "from 1887 to 1889 as the entrance to the World's Fair. Locals call it the iron lady.",
    "Photosynthesis turns light into chemical energy. Plants take in carbon dioxide and water and give off oxygen. The "
    "process takes place in chloroplasts, which hold chlorophyll.",
    "Python is a programming language. Guido van Rossum began to work on it in the late 1980s, as a successor of ABC.",
    "The mitochondrion is the powerhouse of the cell.",
    "In 1969 Apollo 11 landed on the Moon. Neil Armstrong stepped out first; Buzz Aldrin joined him 19 minutes later. "
    "Michael Collins stayed in lunar orbit. They came back to Earth after eight days in space, and were received as "
    "heroes, having fulfilled what President Kennedy had asked for in 1961: to land a man on the Moon and return him "
    "safely. The mission was launched by a Saturn V rocket from Kennedy Space Center on Merritt Island, Florida.",
    "1. Preheat the oven.\n2. Mix flour, butter and sugar.\n3. Bake for twenty minutes.",
    "Der Rhein ist ein Strom in Mitteleuropa. 東京は日本の首都です。 👩\u200d🍳",
    "No.",
]
QUERIES = ["Who built the Eiffel Tower?", "When did people first land on the moon, and who were they?"]
OPTIONS = PruneOptions(return_units=True, reorder=False)
REQUESTS = [
    PruneRequest(query, (Passage(" ".join([paragraph] * (1 + number % 3))),), OPTIONS)
    for query in QUERIES
    for number, paragraph in enumerate(PARAGRAPHS)
]


def scores(result: PruneResult) -> list[float]:
    """Every probability in a result."""
    return [score for passage in result.results for score in (passage.score, *(u.score for u in passage.units or ()))]


@pytest.fixture(scope="module")
def runtimes(shipped: Path, torch_model: Path) -> dict[str, Pruner]:
    exported = {
        f"{backend} {precision}": Pruner.load(shipped, backend=backend, device="cpu", precision=precision)
        for backend in ("openvino", "onnx")
        for precision in ("int8", "fp16")
    }
    return {**exported, "torch": Pruner.load(torch_model, backend="torch", device="cpu")}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_pair_scores_the_same_alone_and_in_company(runtimes: dict[str, Pruner], name: str) -> None:
    pruner = runtimes[name]
    alone = [scores(pruner.prune_many([request])[0]) for request in REQUESTS]
    together = [scores(result) for result in pruner.prune_many(REQUESTS)]
    order = random.Random(0).sample(range(len(REQUESTS)), len(REQUESTS))
    shuffled = dict(zip(order, map(scores, pruner.prune_many([REQUESTS[i] for i in order])), strict=True))
    for number, expected in enumerate(alone):
        assert together[number] == pytest.approx(expected, abs=1e-4, rel=0)
        assert shuffled[number] == pytest.approx(expected, abs=1e-4, rel=0)


@pytest.mark.parametrize("name", RUNTIMES)
def test_probabilities_differ_between_pairs_and_lie_in_range(runtimes: dict[str, Pruner], name: str) -> None:
    found = [score for result in runtimes[name].prune_many(REQUESTS) for score in scores(result)]
    assert all(0 <= score <= 1 for score in found)
    assert np.std(found) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNTIMES)
def test_threads_get_what_a_single_caller_gets(runtimes: dict[str, Pruner], name: str) -> None:
    pruner = runtimes[name]
    expected = [scores(pruner.prune_many([request])[0]) for request in REQUESTS]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda request: scores(pruner.prune_many([request])[0]), REQUESTS))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6, rel=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "difference"), [("openvino int8", 0.02), ("onnx int8", 0.02), ("onnx fp16", 1e-5)])
def test_runtimes_and_precisions_are_the_same_model(runtimes: dict[str, Pruner], name: str, difference: float) -> None:
    other, reference = (
        np.asarray([score for result in runtimes[key].prune_many(REQUESTS) for score in scores(result)])
        for key in (name, "openvino fp16")
    )
    assert np.abs(other - reference).mean() < difference


def test_a_backend_says_what_it_is(runtimes: dict[str, Pruner]) -> None:
    told = {name: (b.name, b.device, b.precision) for name, b in ((n, p.backend) for n, p in runtimes.items())}
    assert told == {
        "openvino int8": ("openvino", "cpu", "int8"),
        "openvino fp16": ("openvino", "cpu", "fp16"),
        "onnx int8": ("onnx", "cpu", "int8"),
        "onnx fp16": ("onnx", "cpu", "fp16"),
        "torch": ("torch", "cpu", "fp32"),
    }


@pytest.mark.parametrize(("flag", "precision"), [("avx2", "fp16"), ("avx2 avx512_vnni", "int8")])
def test_int8_is_chosen_where_the_processor_multiplies_it(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, precision: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : fpu {flag}\n", encoding="utf-8")
    found = choice.int8_pays(cpuinfo)
    assert found is (precision == "int8")
    monkeypatch.setattr(choice, "int8_pays", lambda: found)
    assert load_backend(shipped, ModelChoice(backend="openvino")).precision == precision


def test_int8_is_chosen_where_the_processor_is_unknown(tmp_path: Path) -> None:
    assert choice.int8_pays(tmp_path / "none")


def test_the_best_cpu_runtime_is_chosen(shipped: Path, torch_model: Path) -> None:
    assert load_backend(shipped, ModelChoice(device="cpu")).name == "openvino"
    assert load_backend(torch_model, ModelChoice(device="cpu")).name == "torch"


def test_onnx_runtime_is_chosen_where_there_is_no_openvino(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    assert load_backend(shipped, ModelChoice(device="cpu")).name == "onnx"


def test_a_model_without_a_runtime_names_the_extra(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'secateur\[cpu\]'"):
        load_backend(shipped, ModelChoice(device="cpu"))


HANDLED = """
import os, signal, sys
from pathlib import Path
from secateur.models.backends.openvino import OpenVinoBackend

handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
backends = [OpenVinoBackend(Path(sys.argv[1]), "int8", threads=1) for _ in range(3)]
while backends:
    del backends[0]
os.kill(os.getpid(), signal.SIGUSR1)
print(len(handled))
"""


@pytest.mark.slow
def test_signals_are_handled_after_models_are_freed_in_any_order(shipped: Path) -> None:
    """Seen from outside: without care the process crashes at its next signal."""
    command = [sys.executable, "-c", HANDLED, str(shipped / ONNX_INT8)]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout == "1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorflow"}, "backend: unknown backend 'tensorflow'; use one of auto, "),
        ({"device": "tpu"}, "device: unknown device 'tpu'; use one of auto, cpu, cuda"),
        ({"precision": "int4"}, "precision: unknown precision 'int4'; use one of auto, int8, fp16"),
        ({"backend": "torch", "precision": "int8"}, "precision: 'int8' is invalid for backend 'torch'"),
        ({"threads": 0}, "threads: 0 is not a positive integer"),
        ({"threads": 1.5}, "threads: 1.5 is not a positive integer"),
        ({"backend": "openvino", "device": "cuda"}, "device: 'cuda' is invalid for backend 'openvino'"),
    ],
)
def test_a_wrong_choice_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        Pruner.load(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize("backend", ["auto", "onnx", "torch"])
def test_cuda_without_cuda_is_an_error_that_says_so(model_copy: Path, torch_model: Path, backend: str) -> None:
    if cuda_available():
        pytest.skip("this machine has CUDA")
    directory = torch_model if backend == "torch" else model_copy
    with pytest.raises((ModelError, MissingExtraError), match=r"cuda|CUDA|secateur\[gpu\]"):
        Pruner.load(directory, backend=backend, device="cuda")


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_missing_onnx_file_is_named(model_copy: Path, backend: str) -> None:
    for name in (ONNX_INT8, ONNX_FP16):
        (model_copy / name).unlink()
    with pytest.raises(ModelError, match=r"has no onnx/.* nor onnx/"):
        Pruner.load(model_copy, backend=backend, device="cpu")
    with pytest.raises(ModelError, match=r"neither ONNX files nor model\.safetensors"):
        Pruner.load(model_copy)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
@pytest.mark.parametrize("content", [b"", b"not an ONNX file"])
def test_a_corrupt_onnx_file_is_named(model_copy: Path, backend: str, content: bytes) -> None:
    (model_copy / ONNX_INT8).unlink()
    (model_copy / ONNX_INT8).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{ONNX_INT8}: {backend} cannot load it"):
        Pruner.load(model_copy, backend=backend, device="cpu", precision="int8")


def test_a_cpu_reads_the_fp16_file_where_there_is_no_other(model_copy: Path, runtimes: dict[str, Pruner]) -> None:
    (model_copy / ONNX_INT8).unlink()
    fp16 = Pruner.load(model_copy, backend="openvino", threads=1)
    assert fp16.backend.precision == "fp16"
    expected, found = (scores(pruner.prune_many(REQUESTS[:1])[0]) for pruner in (runtimes["openvino fp16"], fp16))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_torch_runs_a_shipped_model_from_its_fp16_file() -> None:
    query, texts = "When was it finished?", ["It stands in Paris. It was finished in 1889.", "Cats sleep."]
    found = [
        Pruner.load(backend=backend, precision=precision, device="cpu").prune(query, texts, return_units=True).results
        for backend, precision in (("torch", "auto"), ("onnx", "fp16"))
    ]
    for one, other in zip(*found, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.units is not None
        assert other.units is not None
        assert [u.score for u in one.units] == pytest.approx([u.score for u in other.units], abs=1e-5)


def test_torch_without_any_weights_says_which_files_are_missing(model_copy: Path) -> None:
    (model_copy / ONNX_FP16).unlink()
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor onnx/model_fp16\.onnx"):
        Pruner.load(model_copy, backend="torch", device="cpu")


def test_a_broken_fp16_file_is_an_error(model_copy: Path) -> None:
    (model_copy / ONNX_FP16).unlink()  # a link
    (model_copy / ONNX_FP16).write_bytes(b"no graph")
    with pytest.raises(ModelError, match="cannot be read as an ONNX file"):
        Pruner.load(model_copy, backend="torch", device="cpu")


def rewritten(directory: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    """Change the graph of a model's fp16 file, which is a link."""
    path = directory / ONNX_FP16
    model = onnx.load(path)
    path.unlink()
    change(model.graph)
    onnx.save(model, path)


def rename_output(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "keep":
                node.output[index] = "kept"
    next(output for output in graph.output if output.name == "keep").name = "kept"


def rename_input(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == "attention_mask":
                node.input[index] = "mask"
    next(value for value in graph.input if value.name == "attention_mask").name = "mask"


def flatten_output(graph: onnx.GraphProto) -> None:
    output = next(output for output in graph.output if output.name == "keep")
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "keep":
                node.output[index] = "keep.rows"
    graph.node.append(onnx.helper.make_node("ReduceMax", ["keep.rows"], ["keep"], axes=[1], keepdims=0))
    del output.type.tensor_type.shape.dim[1]


def fix_size(graph: onnx.GraphProto) -> None:
    for value in graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename_output, "missing outputs: keep"),
        (rename_input, "missing inputs: attention_mask; unknown inputs: mask"),
        (flatten_output, "outputs of the wrong rank: keep"),
        (fix_size, "inputs of a fixed size: attention_mask, input_ids, token_type_ids"),
    ],
)
def test_a_graph_of_another_layout_is_refused_before_it_is_run(
    model_copy: Path, backend: str, change: Callable[[onnx.GraphProto], None], said: str
) -> None:
    rewritten(model_copy, change)
    with pytest.raises(ModelError, match=rf"{ONNX_FP16}: does not have the expected .*{said}"):
        Pruner.load(model_copy, backend=backend, device="cpu", precision="fp16")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_corrupt_torch_weights_are_named(torch_model: Path, tmp_path: Path, content: bytes) -> None:
    directory = Path(shutil.copytree(torch_model, tmp_path / "model"))
    (directory / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{WEIGHTS}: cannot be read"):
        Pruner.load(directory, backend="torch", device="cpu", verify=False)


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 33}, {"model_type": "no-such"}, {"hidden_act": 5}, {"num_hidden_layers": 1}]
)
def test_an_encoder_that_torch_cannot_make_is_an_error_of_the_configuration(
    torch_model: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    directory = Path(shutil.copytree(torch_model, tmp_path / "model"))
    content = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    (directory / CONFIG).write_text(json.dumps(content | changes), encoding="utf-8")
    with pytest.raises(ModelError, match=CONFIG):
        Pruner.load(directory, backend="torch", device="cpu", verify=False)
