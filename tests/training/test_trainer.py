"""Training, resuming and exporting a tiny model for real."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from secateur.models import export as export_module
from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, TOKENIZER, read_config, resolve
from secateur.models.errors import ExportError, ModelError
from secateur.models.export import export
from secateur.models.pruner import Pruner
from secateur.training.config import DataConfig, OptimConfig, TrainConfig
from secateur.training.trainer import base_directory, train

NAMES = ["Anna", "Boris", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Irina", "Jonas"]
PLACES = ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi", "Hanoi", "Tunis", "Sofia", "Perth"]


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with the shipped model's tokenizer."""
    directory = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128
    )
    BertModel(config).save_pretrained(directory)
    (directory / TOKENIZER).write_bytes((resolve(None) / TOKENIZER).read_bytes())
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    lines = []
    for number in range(600):
        name, place = rng.choice(NAMES), rng.choice(PLACES)
        answer = f"{name} went to {place}."
        text = f"It rained all day. {answer} Nobody saw the cat."
        start = text.index(answer)
        other = {"text": "The shop sells bread. It is closed on Monday.", "relevant_spans": [], "relevant": False}
        relevant = {"text": text, "relevant_spans": [[start, start + len(answer)]], "relevant": True}
        lines.append(json.dumps({"id": str(number), "query": f"Where did {name} go?", "passages": [relevant, other]}))
    (directory / "toy.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return directory


def config_for(tiny_base: Path, data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        name="tiny",
        base=str(tiny_base),
        out=out,
        data=DataConfig(train=data, pairs=480, recut_share=0.0),
        optim=OptimConfig(
            learning_rate=3e-3, head_multiplier=2, max_tokens=64, freeze_embeddings=False, precision="fp32"
        ),
        window=128,
        save_steps=10,
    )


@pytest.fixture(scope="module")
def trained(tiny_base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config_for(tiny_base, data, tmp_path_factory.mktemp("run")))


def test_training_learns_what_the_labels_say(trained: Path) -> None:
    pruner = Pruner.load(trained, backend="torch")
    result = pruner.prune(
        "Where did Anna go?", ["It rained all day. Anna went to Oslo. Nobody saw the cat."], threshold=0.5
    )
    assert result.results[0].text == "Anna went to Oslo."


def test_the_checkpoint_tells_how_it_was_made(trained: Path) -> None:
    summary = read_config(trained).training
    assert summary["pairs"] == 480
    assert summary["steps"] == 30
    assert summary["queries_by_source"] == {"toy": 600}
    assert summary["config"]["optim"]["learning_rate"] == 3e-3


def test_the_checkpoint_names_no_directory_of_this_machine(trained: Path, tiny_base: Path) -> None:
    config = (trained / "config.json").read_text(encoding="utf-8")
    assert str(tiny_base) not in config
    assert str(trained.parent) not in config


def test_a_killed_run_resumes_to_the_same_weights(tiny_base: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    # What a kill after step 20 leaves: the checkpoints up to there.
    checkpoints = trained.parent / "checkpoints"
    (tmp_path / "checkpoints").mkdir()
    last = checkpoints / "checkpoint-20"
    assert last.is_dir()
    (tmp_path / "checkpoints" / last.name).symlink_to(last)
    resumed = load_file(train(config_for(tiny_base, data, tmp_path)) / "model.safetensors")
    unbroken = load_file(trained / "model.safetensors")
    for name, tensor in unbroken.items():
        assert torch.allclose(tensor, resumed[name], atol=1e-6), name


def test_a_trained_model_goes_on_learning(trained: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(trained, data, tmp_path)
    idle = replace(config.optim, learning_rate=1e-9, unit_share=0.5)
    continued = train(replace(config, data=replace(config.data, pairs=32), optim=idle))
    before, after = (load_file(directory / "model.safetensors") for directory in (trained, continued))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
    summary = read_config(continued).training
    assert summary["continued"]["steps"] == 30
    assert summary["config"]["optim"]["unit_share"] == 0.5
    assert summary["config"]["base"] == "tiny"


def test_a_trained_model_goes_on_with_its_own_heads_only(trained: Path, data: Path, tmp_path: Path) -> None:
    config = replace(config_for(trained, data, tmp_path), prune_head="linear")
    with pytest.raises(ModelError, match="prune_head: bilinear"):
        train(config)


def test_a_model_without_weights_cannot_be_trained_on(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        train(config_for(resolve(None), data, tmp_path))


def test_export_writes_both_files_and_they_agree_with_torch(
    trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "CALIBRATION_PAIRS", 40)
    reports = export(trained, data)
    assert {r.file for r in reports} == {ONNX_INT8, ONNX_FP16}
    assert all(r.batch_effect <= export_module.MAX_BATCH_EFFECT for r in reports)
    text = "It rained all day. Hugo went to Lima. Nobody saw the cat."
    for backend in ("openvino", "onnx"):
        result = Pruner.load(trained, backend=backend, device="cpu").prune("Where did Hugo go?", [text], threshold=0.5)
        assert result.results[0].text == "Hugo went to Lima."


@pytest.mark.parametrize(("limit", "said"), [("MAX_FLIPS", "keeps other units"), ("MAX_BATCH_EFFECT", "in a batch")])
def test_an_unfaithful_file_is_refused_and_nothing_is_written(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, said: str
) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("config.json", TOKENIZER, "model.safetensors"):
        (copy / name).write_bytes((trained / name).read_bytes())
    monkeypatch.setattr(export_module, "CALIBRATION_PAIRS", 20)
    impossible = {"fp16": -1.0, "int8": -1.0} if limit == "MAX_FLIPS" else -1.0
    monkeypatch.setattr(export_module, limit, impossible)
    with pytest.raises(ExportError, match=said):
        export(copy, data)
    assert not (copy / "onnx").exists()


def test_linear_heads_train_and_load(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, data, tmp_path)
    small = replace(config, data=replace(config.data, pairs=32), rank_head="linear", prune_head="linear")
    pruner = Pruner.load(train(small), backend="torch")
    assert 0 <= pruner.prune("q", ["Some text."]).results[0].score <= 1


@pytest.mark.parametrize(
    ("base", "said"),
    [("package:no_such_package/model", "not installed"), ("package:tests_of_nothing", "not installed")],
)
def test_a_missing_base_is_an_error(base: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        base_directory(base)


def test_a_base_without_a_fast_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=TOKENIZER):
        base_directory(str(tmp_path))
