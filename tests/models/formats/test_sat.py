"""The segmenter `sat`, with tiny models of the architecture that wtpsplit-lite runs."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from secateur.models.checkpoint import CONFIG, resolve
from secateur.models.errors import InputError, MissingExtraError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter, located
from secateur.models.types import Passage

WORDS = ["so", "we", "went", "home", "then", "it", "rained", "stop"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXT = "so we went home stop then it rained stop so we went"


def write_tokenizer(directory: Path) -> int:
    """Write a tokenizer of whole words and single letters; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [*SPECIAL, *(f"▁{word}" for word in WORDS), "▁"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(directory / "tokenizer.json"))
    return len(pieces)


def write_config(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps({"model_type": "xlm-token", "id2label": {"0": "NEWLINE"}}))


def write_known_model(directory: Path) -> Path:
    """Write a model in whose texts a sentence ends after the word "stop"."""
    from onnx import TensorProto, helper, numpy_helper, save

    directory.mkdir()
    table = np.full((write_tokenizer(directory), 1), -9, dtype=np.float32)
    table[len(SPECIAL) + WORDS.index("stop")] = 9
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "known",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.FLOAT16, ["batch", "tokens"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "tokens", 1])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, str(directory / "model_optimized.onnx"))
    write_config(directory)
    return directory


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("wtpsplit_lite")
    return write_known_model(tmp_path_factory.mktemp("sat") / "sat-known")


def texts_of(text: str, name: str) -> list[str]:
    return [text[unit.start : unit.end] for unit in segment(Passage(text, format="text"), get_segmenter(name))]


def test_text_without_punctuation_is_cut_where_the_model_says(known: Path) -> None:
    assert texts_of(TEXT, f"sat:{known}") == ["so we went home stop ", "then it rained stop ", "so we went"]


def test_a_text_of_many_windows_is_cut_alike_everywhere(known: Path) -> None:
    sentence = "so we went home stop "
    assert texts_of(sentence * 400, f"sat:{known}") == [sentence] * 400


@pytest.mark.parametrize("text", ["", " \n ", "\x07", "\u200b", "...", "漢字", "x" * 700, "so we\x00went stop it"])
def test_any_text_is_tiled(known: Path, text: str) -> None:
    assert "".join(texts_of(text, f"sat:{known}")) == text


def test_it_can_be_pickled(known: Path) -> None:
    segmenter = get_segmenter(f"sat:{known}")
    assert pickle.loads(pickle.dumps(segmenter))(TEXT) == segmenter(TEXT) != []


def test_a_directory_is_looked_for_where_it_is_said(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_segmenter("sat:sat-known", known.parent)(TEXT) != []
    monkeypatch.chdir(known.parent)
    assert get_segmenter("sat:sat-known")(TEXT) != []


def write_pruner(directory: Path, segmenter: str) -> Path:
    """Copy the default model, with another segmenter."""
    directory.mkdir()
    for file in resolve(None).iterdir():
        if file.name not in (CONFIG, "secateur.sha256"):
            (directory / file.name).symlink_to(file)
    config = json.loads((resolve(None) / CONFIG).read_text())
    config["secateur"]["segmenter"] = segmenter
    (directory / CONFIG).write_text(json.dumps(config))
    return directory


def test_a_name_with_its_directory_made_absolute(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(known)
    assert located("nupunkt") == "nupunkt"
    assert located("sat:model") == f"sat:{known / 'model'}"
    assert located("sat:model", Path("/models/base")) == "sat:/models/base/model"
    assert located("sat:/other/model", Path("/models/base")) == "sat:/other/model"


def test_a_model_names_it_in_its_configuration(known: Path, tmp_path: Path) -> None:
    model = write_pruner(tmp_path / "model", "sat:segmenter")
    (model / "segmenter").symlink_to(known)
    (result,) = Pruner.load(model).prune("did it rain", [TEXT], threshold=0.0, return_units=True).results
    assert result.units is not None
    assert [TEXT[unit.start : unit.end] for unit in result.units] == [
        "so we went home stop ",
        "then it rained stop ",
        "so we went",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("sat", r"segmenter: 'sat' names no directory; use 'sat:DIRECTORY'"),
        ("sat:", r"segmenter: 'sat:' names no directory"),
        ("sat:/nowhere", r"segmenter: the directory '/nowhere' has no model_optimized.onnx; use 'sat:DIRECTORY'"),
        ("nupunkt:/tmp", r"segmenter: unknown segmenter 'nupunkt:/tmp'; use one of nupunkt, punkt, sat:DIRECTORY"),
    ],
)
def test_a_name_without_a_model_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        get_segmenter(name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model_optimized.onnx").touch()
    write_config(tmp_path)
    with pytest.raises(InputError, match=r"has no tokenizer.json"):
        get_segmenter(f"sat:{tmp_path}")


def test_a_model_configuration_without_a_directory_is_refused(tmp_path: Path) -> None:
    model = write_pruner(tmp_path / "model", "sat")
    with pytest.raises(ModelError, match=r"segmenter: 'sat' names no directory; use 'sat:DIRECTORY'"):
        Pruner.load(model)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model_optimized.onnx", "config.json", "tokenizer.json"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "wtpsplit_lite", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'secateur\[sat\]'"):
        get_segmenter(f"sat:{tmp_path}")


@pytest.mark.slow
def test_a_random_checkpoint_of_the_architecture_runs(tmp_path: Path) -> None:
    """XLM-RoBERTa that classifies tokens with one label, as the published models are exported."""
    pytest.importorskip("wtpsplit_lite")
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForTokenClassification

    torch.manual_seed(0)
    config = XLMRobertaConfig(  # type: ignore[call-arg]
        vocab_size=write_tokenizer(tmp_path),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=520,
        num_labels=1,
        attn_implementation="eager",
    )
    network = XLMRobertaForTokenClassification(config).eval().requires_grad_(False)

    class Exported(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = network(input_ids=input_ids, attention_mask=attention_mask.long()).logits
            return logits

    ids = torch.tensor([[0, 5, 6, 7, 2]])
    dynamic = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in training.export
        torch.onnx.export(
            Exported(),
            (ids, torch.ones_like(ids, dtype=torch.float16)),
            str(tmp_path / "model_optimized.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes=dynamic,
            dynamo=False,
        )
    write_config(tmp_path)
    text = TEXT * 120
    units = segment(Passage(text, format="text"), get_segmenter(f"sat:{tmp_path}"))
    assert "".join(text[unit.start : unit.end] for unit in units) == text
    assert len(units) > 1
