"""Training, resuming and exporting a tiny model for real."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import write_tiny_base
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, TOKENIZER, WEIGHTS, read_config, resolve
from secateur.models.errors import DataError, ExportError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.sums import check_sums, write_sums
from secateur.training import export as export_module
from secateur.training.config import (
    DataConfig,
    LoraConfig,
    LossConfig,
    OptimConfig,
    StopConfig,
    TeacherConfig,
    TrainConfig,
    load_config,
)
from secateur.training.export import export
from secateur.training.run import base_directory, train

NAMES = ["Anna", "Boris", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Irina", "Jonas"]
PLACES = ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi", "Hanoi", "Tunis", "Sofia", "Perth"]


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


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


def mtime(path: Path) -> float:
    return path.stat().st_mtime


def config_for(tiny_base: Path, data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        name="tiny",
        base=str(tiny_base),
        out=out,
        data=DataConfig(train=data, pairs=480, recut_share=0.0, shuffle_share=0.0),
        optim=OptimConfig(
            learning_rate=3e-3, head_multiplier=2, max_tokens=64, freeze_embeddings=False, precision="fp32"
        ),
        window=128,
        save_steps=10,
    )


@pytest.fixture(scope="module")
def trained(tiny_base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config_for(tiny_base, data, tmp_path_factory.mktemp("run")))


@pytest.mark.slow
def test_training_learns_what_the_labels_say(trained: Path) -> None:
    pruner = Pruner.load(trained, backend="torch")
    result = pruner.prune(
        "Where did Anna go?", ["It rained all day. Anna went to Oslo. Nobody saw the cat."], threshold=0.5
    )
    assert result.results[0].text == "Anna went to Oslo."


def test_the_checkpoint_tells_how_it_was_made(trained: Path) -> None:
    summary = read_config(trained).training
    assert summary["pairs"] == 480
    assert summary["steps"] == 29
    assert summary["queries_by_source"] == {"toy": 600}
    assert summary["config"]["optim"]["learning_rate"] == 3e-3


def test_the_checkpoint_names_no_directory_of_this_machine(trained: Path, tiny_base: Path) -> None:
    config = (trained / "config.json").read_text(encoding="utf-8")
    assert str(tiny_base) not in config
    assert str(trained.parent) not in config


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tiny_base: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    # What a kill after step 20 leaves: the checkpoints up to there.
    checkpoints = trained.parent / "checkpoints"
    (tmp_path / "checkpoints").mkdir()
    last = checkpoints / "checkpoint-20"
    assert last.is_dir()
    shutil.copytree(last, tmp_path / "checkpoints" / last.name)
    # And one that the kill left half written: it is passed over.
    (tmp_path / "checkpoints" / "checkpoint-25").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-25" / "model.safetensors").write_bytes(b"half")
    resumed = load_file(train(config_for(tiny_base, data, tmp_path)) / "model.safetensors")
    unbroken = load_file(trained / "model.safetensors")
    for name, tensor in unbroken.items():
        assert torch.allclose(tensor, resumed[name], atol=1e-6), name


@pytest.mark.slow
def test_the_result_can_be_averaged_with_where_it_started(trained: Path, data: Path, tmp_path: Path) -> None:
    config = replace(config_for(trained, data, tmp_path / "whole"), data=replace(DataConfig(train=data), pairs=48))
    whole = load_file(train(config) / "model.safetensors")
    shared = load_file(train(replace(config, out=tmp_path / "shared", base_share=0.25)) / "model.safetensors")
    before = load_file(trained / "model.safetensors")
    moved = 0.0
    for name, tensor in whole.items():
        assert torch.allclose(shared[name], 0.75 * tensor + 0.25 * before[name], atol=1e-5), name
        moved = max(moved, float((tensor - before[name]).abs().max()))
    assert moved > 1e-3


def test_nothing_is_averaged_with_heads_that_were_not_trained(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="base_share: "):
        train(replace(config_for(tiny_base, data, tmp_path), base_share=0.5))


def test_a_trained_model_goes_on_learning(trained: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(trained, data, tmp_path)
    idle = replace(config.optim, learning_rate=1e-9)
    continued = train(replace(config, data=replace(config.data, pairs=32), optim=idle))
    before, after = (load_file(directory / "model.safetensors") for directory in (trained, continued))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
    summary = read_config(continued).training
    assert summary["continued"]["steps"] == 29
    assert summary["config"]["base"] == "tiny"


def test_a_trained_model_goes_on_with_its_own_heads_only(trained: Path, data: Path, tmp_path: Path) -> None:
    config = replace(config_for(trained, data, tmp_path), prune_head="linear")
    with pytest.raises(ModelError, match="prune_head bilinear"):
        train(config)


@pytest.mark.slow
def test_a_shipped_model_goes_on_learning_from_its_fp16_file(data: Path, tmp_path: Path) -> None:
    config = config_for(resolve(None), data, tmp_path)
    idle = replace(config.optim, learning_rate=1e-9, freeze_embeddings=True)
    config = replace(config, base="secateur-nano-en", window=512, data=replace(config.data, pairs=16), optim=idle)
    directory = train(config)
    passages = ["It rained all day. Hugo went to Lima. Nobody saw the cat.", "The shop sells bread."]
    shipped = Pruner.load(backend="onnx", precision="fp16", device="cpu")
    results = [
        model.prune("Where did Hugo go?", passages, threshold=0.5, return_units=True).results
        for model in (shipped, Pruner.load(directory, backend="torch"))
    ]
    for one, other in zip(*results, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.units is not None
        assert other.units is not None
        assert [u.score for u in one.units] == pytest.approx([u.score for u in other.units], abs=1e-4)


def test_a_model_without_any_weights_cannot_be_trained_on(trained: Path, data: Path, tmp_path: Path) -> None:
    for name in ("config.json", TOKENIZER):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor onnx/model_fp16\.onnx"):
        train(config_for(tmp_path, data, tmp_path / "out"))


@pytest.mark.slow
def test_adapters_are_trained_and_merged(trained: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(trained, data, tmp_path)
    directory = train(replace(config, lora=LoraConfig(rank=4), data=replace(config.data, pairs=96)))
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, directory))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    linear = {name for name in before if name.startswith("encoder.encoder.") and name.endswith((".query.weight",))}
    assert linear <= changed
    assert not any("LayerNorm" in name or "embeddings" in name for name in changed)
    assert any(name.startswith("rank.") for name in changed)


@pytest.mark.slow
def test_lower_layers_learn_slower(trained: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(trained, data, tmp_path)
    optim = replace(config.optim, layer_decay=1e-3, learning_rate=1e-3)
    directory = train(replace(config, optim=optim, data=replace(config.data, pairs=96)))
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, directory))

    def moved(name: str) -> float:
        return float((after[name] - before[name]).abs().mean())

    weight = "encoder.encoder.layer.{}.output.dense.weight"
    assert moved(weight.format(0)) < 0.05 * moved(weight.format(1))


@pytest.mark.slow
def test_the_best_checkpoint_is_the_result_and_training_stops_when_none_is_better(
    tiny_base: Path, data: Path, tmp_path: Path
) -> None:
    config = config_for(tiny_base, data, tmp_path)
    config = replace(
        config,
        data=replace(config.data, validation=data, pairs=960),
        optim=replace(config.optim, epochs=2.0),
        stop=StopConfig(queries=20, patience=2),
        save_steps=10,
    )
    directory = train(config)
    state = json.loads(max((tmp_path / "checkpoints").glob("*/trainer_state.json"), key=mtime).read_text())
    scores = [row["eval_unit_ap"] for row in state["log_history"] if "eval_unit_ap" in row]
    assert len(scores) < 12  # of 120 steps
    assert read_config(directory).training["validation"]["unit_ap"] == pytest.approx(max(scores), abs=1e-4)


@pytest.mark.slow
def test_gradients_add_up_over_batches_and_activations_can_be_computed_twice(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    weights = []
    runs: dict[str, dict[str, Any]] = {
        "plain": {"batch_size": 16},
        "twice": {"batch_size": 16, "gradient_checkpointing": True},
    }
    for name, changes in runs.items():
        config = config_for(trained, data, tmp_path / name)
        config = replace(config, optim=replace(config.optim, **changes), data=replace(config.data, pairs=32))
        weights.append(load_file(train(config) / "model.safetensors"))
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-5), name
    config = config_for(trained, data, tmp_path / "accumulated")
    optim = replace(config.optim, batch_size=4, gradient_accumulation=4)
    directory = train(replace(config, optim=optim, data=replace(config.data, pairs=32)))
    assert read_config(directory).training["steps"] == 2


@pytest.mark.slow
def test_a_tracker_is_told_the_loss_its_parts_and_the_validation(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = config_for(tiny_base, data, tmp_path)
    train(
        replace(
            config,
            data=replace(config.data, validation=data, pairs=340),
            stop=StopConfig(queries=20),
            report_to=("tensorboard",),
        )
    )
    (events,) = (tmp_path / "checkpoints").rglob("events.out.tfevents.*")
    read = EventAccumulator(str(events))
    read.Reload()
    losses = {event.step: event.value for event in read.Scalars("train/loss")}
    assert list(losses) == [1, 20]
    assert losses[20] < losses[1]
    parts = {part: [event.value for event in read.Scalars(f"train/{part}")] for part in ("token_bce", "relevance_bce")}
    assert all(len(values) == 2 and values[1] < values[0] for values in parts.values())
    state = json.loads(max((tmp_path / "checkpoints").glob("*/trainer_state.json"), key=mtime).read_text())
    judged = {row["step"]: row["eval_unit_ap"] for row in state["log_history"] if "eval_unit_ap" in row}
    shown = {event.step: event.value for event in read.Scalars("eval/unit_ap")}
    assert len(shown) >= 2
    assert shown == pytest.approx(judged)


@pytest.mark.parametrize("name", ["no_such_tracker", "clearml"])
def test_a_tracker_that_is_not_installed_is_refused_before_the_data_is_read(
    tiny_base: Path, tmp_path: Path, name: str
) -> None:
    config = config_for(tiny_base, tmp_path / "no_such_data", tmp_path / "out")
    with pytest.raises(DataError, match=rf"report_to: the tracker '{name}' .*tensorboard"):
        train(replace(config, report_to=(name,)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_fp16_without_cuda_is_refused_before_the_data_is_read(tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, tmp_path / "no_such_data", tmp_path / "out")
    with pytest.raises(DataError, match=r"optim\.precision: fp16 needs a CUDA device"):
        train(replace(config, optim=replace(config.optim, precision="fp16")))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, data, tmp_path)
    wild = replace(config.optim, learning_rate=1e30, head_multiplier=1e8, max_grad_norm=1e30)
    with pytest.raises(DataError, match="is not finite at step"):
        train(replace(config, optim=wild))


@pytest.mark.slow
def test_two_processes_learn_what_one_does_with_twice_the_batch(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        f"name: tiny\nbase: {tiny_base}\nout: {tmp_path / 'two'}\nwindow: 128\n"
        f"data:\n  train: {data}\n  pairs: 96\n"
        "optim:\n  batch_size: 8\n  learning_rate: 1.0e-3\n  max_tokens: 64\n  precision: fp32\n",
        encoding="utf-8",
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "secateur"]
    subprocess.run([*launcher, "train", str(path)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    config = load_config(path)
    one = train(replace(config, out=tmp_path / "one", optim=replace(config.optim, batch_size=16)))
    losses = [read_config(model).training["final_loss"] for model in (one, tmp_path / "two" / "model")]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.slow
def test_export_writes_both_files_and_they_agree_with_torch(
    trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "CALIBRATION_PAIRS", 40)
    monkeypatch.setattr(export_module, "CHECK_PAIRS", 60)
    assert check_sums(trained, [TOKENIZER, WEIGHTS])
    reports = export(trained, data)
    assert check_sums(trained, [ONNX_INT8, ONNX_FP16])
    assert {r.file for r in reports} == {ONNX_INT8, ONNX_FP16}
    assert all(r.batch_effect <= export_module.MAX_BATCH_EFFECT for r in reports)
    text = "It rained all day. Hugo went to Lima. Nobody saw the cat."
    for backend in ("openvino", "onnx"):
        result = Pruner.load(trained, backend=backend, device="cpu").prune("Where did Hugo go?", [text], threshold=0.5)
        assert result.results[0].text == "Hugo went to Lima."


@pytest.mark.slow
def test_an_unfaithful_file_is_refused_and_nothing_is_written(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("config.json", TOKENIZER, "model.safetensors"):
        (copy / name).write_bytes((trained / name).read_bytes())
    monkeypatch.setattr(export_module, "CALIBRATION_PAIRS", 40)
    monkeypatch.setattr(export_module, "CHECK_PAIRS", 60)
    monkeypatch.setattr(export_module, "MAX_BATCH_EFFECT", -1.0)
    with pytest.raises(ExportError, match="in a batch"):
        export(copy, data)
    monkeypatch.setattr(export_module, "MAX_FLIPS", {"fp16": -1.0, "int8": -1.0})
    with pytest.raises(ExportError, match="differ from torch"):
        export(copy, data)
    assert not (copy / "onnx").exists()


@pytest.mark.slow
def test_linear_heads_train_and_load(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, data, tmp_path)
    small = replace(config, data=replace(config.data, pairs=32), rank_head="linear", prune_head="linear")
    pruner = Pruner.load(train(small), backend="torch")
    assert 0 <= pruner.prune("q", ["Some text."]).results[0].score <= 1


@pytest.mark.slow
def test_a_head_that_pools_units_is_exported_and_the_same_everywhere(
    tiny_base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "CALIBRATION_PAIRS", 40)
    monkeypatch.setattr(export_module, "CHECK_PAIRS", 60)
    directory = train(replace(config_for(tiny_base, data, tmp_path), prune_head="unit_pooled"))
    assert all(r.batch_effect <= export_module.MAX_BATCH_EFFECT for r in export(directory, data))
    passages = ["It rained all day. Hugo went to Lima. Nobody saw the cat.", "Hugo went to Oslo. " * 40, ""]
    scores = {}
    for backend, precision in (("torch", "auto"), ("openvino", "fp16"), ("onnx", "fp16"), ("openvino", "int8")):
        pruner = Pruner.load(directory, backend=backend, device="cpu", precision=precision)
        result = pruner.prune("Where did Hugo go?", passages, threshold=0.5, return_units=True, reorder=False)
        assert result.results[0].text == "Hugo went to Lima."
        scores[backend, precision] = [unit.score for item in result.results for unit in item.units or ()]
    for found in (scores["openvino", "fp16"], scores["onnx", "fp16"]):
        assert found == pytest.approx(scores["torch", "auto"], abs=5e-3)
    assert scores["openvino", "int8"] == pytest.approx(scores["torch", "auto"], abs=0.2)
    (directory / "model.safetensors").unlink()  # torch then reads the fp16 file
    write_sums(directory)
    again = Pruner.load(directory, backend="torch", device="cpu").prune("Where did Hugo go?", passages[:1])
    assert again.results[0].text == "Hugo went to Lima."


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


@pytest.mark.slow
def test_a_cross_encoders_head_becomes_the_relevance_head(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    base = tmp_path / "cross-encoder"
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(tiny_base, num_labels=1)
    theirs = BertForSequenceClassification(config).eval()
    theirs.save_pretrained(base)
    (base / TOKENIZER).write_bytes((tiny_base / TOKENIZER).read_bytes())
    run = config_for(base, data, tmp_path / "run")
    idle = replace(run.optim, learning_rate=1e-12)
    directory = train(replace(run, optim=idle, data=replace(run.data, pairs=16)))
    assert read_config(directory).rank_head == "classifier_tanh"
    tokenizer = Tokenizer.from_file(str(base / TOKENIZER))
    query, passage = "Where did Anna go?", "Anna went to Oslo."
    pair = tokenizer.encode(query, passage)
    inputs = {"input_ids": torch.tensor([pair.ids]), "token_type_ids": torch.tensor([pair.type_ids])}
    expected = theirs(**inputs).logits.sigmoid().item()
    result = Pruner.load(directory, backend="torch").prune(query, [passage])
    assert result.results[0].score == pytest.approx(expected, abs=1e-5)


def test_a_classifier_of_several_labels_is_no_relevance_head(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    base = tmp_path / "classifier"
    BertForSequenceClassification(BertConfig.from_pretrained(tiny_base, num_labels=3)).save_pretrained(base)
    (base / TOKENIZER).write_bytes((tiny_base / TOKENIZER).read_bytes())
    with pytest.raises(ModelError, match="3 labels"):
        train(config_for(base, data, tmp_path / "run"))


@pytest.mark.slow
def test_streaming_learns_too(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, data, tmp_path)
    directory = train(replace(config, data=replace(config.data, streaming=True)))
    assert read_config(directory).training["steps"] == 30
    text = "It rained all day. Anna went to Oslo. Nobody saw the cat."
    result = Pruner.load(directory, backend="torch").prune("Where did Anna go?", [text], threshold=0.5)
    assert result.results[0].text == "Anna went to Oslo."


@pytest.mark.slow
def test_a_small_model_learns_from_a_large_one(tiny_base: Path, trained: Path, data: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, data, tmp_path)
    teacher = TeacherConfig(str(trained), backend="torch")
    loss = LossConfig(token_bce=1.0, unit_bce=0.0, relevance_bce=0.0, relevance_mse=1.0)
    directory = train(replace(config, teacher=teacher, loss=loss))
    assert read_config(directory).training["config"]["teacher"]["model"] == "model"
    text = "It rained all day. Anna went to Oslo. Nobody saw the cat."
    passages = [text, "The shop sells bread. It is closed on Monday."]
    small, large = (
        Pruner.load(model, backend="torch").prune("Where did Anna go?", passages, return_units=True, reorder=False)
        for model in (directory, trained)
    )
    for one, other in zip(small.results, large.results, strict=True):
        assert one.units is not None
        assert other.units is not None
        assert [u.score for u in one.units] == pytest.approx([u.score for u in other.units], abs=0.2)
        assert one.score == pytest.approx(other.score, abs=0.2)
