"""A training run: from a configuration and a base (an encoder or an earlier model) to a model directory."""

from __future__ import annotations

import importlib.util
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import set_seed

from secateur.models import checkpoint
from secateur.models.backends.base import available_threads
from secateur.models.checkpoint import TOKENIZER, ModelConfig, PruneHead, RankHead, has_heads, read_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError, MissingExtraError, ModelError
from secateur.models.heads import classifier_of
from secateur.models.network import Dropout, PruningNetwork, continued_network, new_network, save_network
from secateur.models.segmenters import get_segmenter, located
from secateur.training.batches import BatchStream, GroupBatchSampler, GroupCollator
from secateur.training.config import LoraConfig, TrainConfig, config_dict
from secateur.training.pairs import Group, GroupBuilder, build_groups
from secateur.training.trainer import PruningTrainer, check_machine, last_checkpoint, training_arguments, use_bf16
from secateur.training.validation import validation_groups

log = logging.getLogger(__name__)


def base_directory(base: str) -> Path:
    """Return the directory of a configuration's ``base``.

    Raises:
        ModelError: The package is not installed, or the directory has no fast tokenizer.
    """
    if base.startswith("package:"):
        package, _, inner = base.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"base: the Python package {package!r} is not installed; install it")
        directory = Path(next(iter(spec.submodule_search_locations))) / inner
    else:
        directory = Path(base).expanduser()
        if not directory.is_dir() and len(directory.parts) == 1:
            directory = checkpoint.PRETRAINED / base
        if not directory.is_dir():
            from huggingface_hub import snapshot_download

            directory = Path(snapshot_download(base, ignore_patterns=["*.bin", "*.onnx", "*.h5", "*.msgpack"]))
    if not (directory / TOKENIZER).is_file():
        raise ModelError(f"base: {directory} has no {TOKENIZER}; choose an encoder with a fast tokenizer")
    return directory


def _add_lora(encoder: Any, lora: LoraConfig) -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "train") from error
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules="all-linear"
    )
    return peft.get_peft_model(encoder, settings)


def _load_base(config: TrainConfig, base: Path) -> tuple[PruningNetwork, PairEncoder]:
    """Load the base of a run and prepare it for training; return its network, and its encoder of pairs."""
    encoder = PairEncoder(checkpoint.load_tokenizer(base), min(config.optim.max_tokens, config.window))
    rank_head: RankHead = "pooled"
    prune_head: PruneHead = "bilinear"
    if has_heads(base):
        make, earlier = continued_network, read_config(base)
        rank_head, prune_head = earlier.rank_head, earlier.prune_head
    else:
        make = new_network
        if classifier := classifier_of(base):
            rank_head = classifier.rank_head
    model_config = ModelConfig(
        name=config.name,
        window=config.window,
        rank_head=rank_head if config.rank_head == "auto" else config.rank_head,
        prune_head=prune_head if config.prune_head == "auto" else config.prune_head,
        segmenter=located(config.segmenter),  # a model looks for it from its own directory
    )
    dropout = Dropout(config.optim.dropout, config.optim.attention_dropout)
    network = make(base, model_config, encoder.template, dropout)
    positions = checkpoint.check_encoder(network.encoder.config.to_dict(), base).positions  # type: ignore[union-attr,operator]
    if positions is not None and config.window > positions:
        raise DataError(f"window: {config.window} exceeds the encoder's {positions} positions; choose a smaller window")
    if config.optim.freeze_embeddings:
        for parameter in network.encoder.get_input_embeddings().parameters():  # type: ignore[operator]
            parameter.requires_grad = False
    if config.optim.gradient_checkpointing:
        # Reentrant checkpointing needs an input with a gradient, which frozen embeddings do not have.
        network.encoder.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    if config.lora is not None:
        network.encoder = _add_lora(network.encoder, config.lora)
    return network, encoder


@dataclass(frozen=True, slots=True)
class _Batches:
    """This process's batches of all epochs, the number of pairs in all of them, and of queries by source."""

    loader: DataLoader[Any]
    pairs: int
    sources: dict[str, int]


def _batches(config: TrainConfig, encoder: PairEncoder, collator: GroupCollator, rank: int, world: int) -> _Batches:
    data, optim = config.data, config.optim
    builder = GroupBuilder(encoder, get_segmenter(config.segmenter), data, config.seed)
    pinned = torch.cuda.is_available()
    if data.streaming:
        if config.teacher is not None:
            raise DataError("data.streaming: a teacher labels pairs in memory; leave out `streaming` or `teacher`")
        count = math.ceil(data.pairs * optim.epochs / (optim.batch_size * world))
        stream = BatchStream(builder, count, optim.batch_size, rank, world)
        loader: DataLoader[Any] = DataLoader(
            stream,
            batch_size=None,
            collate_fn=collator,
            num_workers=data.workers,
            multiprocessing_context="spawn" if data.workers else None,  # forking a process with threads is unsafe
            pin_memory=pinned,
        )
        return _Batches(loader, data.pairs, stream.sizes)
    groups, sources = build_groups(builder, config.teacher)
    sampler = GroupBatchSampler(groups, optim.batch_size, optim.epochs, config.seed, rank, world)
    dataset = cast("Dataset[Group]", groups)  # a list is a map-style dataset
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collator, pin_memory=pinned)
    return _Batches(loader, sum(map(len, groups)), sources)


def _base_weights(config: TrainConfig, base: Path, network: PruningNetwork) -> dict[str, torch.Tensor]:
    """Return the weights to average with at the end; none unless ``base_share`` is given."""
    if not config.base_share:
        return {}
    if not has_heads(base):
        raise DataError(f"base_share: {config.base!r} is not a Secateur model to average; leave `base_share` out")
    if config.lora is not None:
        raise DataError("base_share: cannot be combined with `lora`; leave one of them out")
    return {name: weight.clone() for name, weight in network.state_dict().items() if weight.is_floating_point()}


def train(config: TrainConfig) -> Path:
    """Run (or resume) a training run, and return the finished model's directory, with fp32 weights.

    Under `torchrun` each process trains on its share of every batch; the first one writes.

    Raises:
        DataError: The data cannot be trained on, the loss is not finite, nothing can be written, or the machine lacks
            something that the configuration requires.
        ModelError: The base cannot be used, or a batch does not fit into memory.
    """
    check_machine(config)
    set_seed(config.seed)
    base = base_directory(config.base)
    network, encoder = _load_base(config, base)
    base_weights = _base_weights(config, base, network)
    validation = validation_groups(config, encoder)
    arguments = training_arguments(config, judged=bool(validation))
    passage_type = encoder.template.passage_type if network.uses_types else 0
    pad_id = int(checkpoint.read_encoder_config(base).get("pad_token_id") or 0)
    collator = GroupCollator(pad_id, config.optim.pad_to_multiple_of, passage_type)
    batches = _batches(config, encoder, collator, arguments.process_index, arguments.world_size)
    log.info("%d pairs from %d sources, %d steps", batches.pairs, len(batches.sources), len(batches.loader))
    trainer = PruningTrainer(config, network, arguments, batches.loader, validation)
    last = last_checkpoint(config.out) if config.resume else None
    started = time.monotonic()
    try:
        outcome = trainer.train(resume_from_checkpoint=str(last) if last else None)
    except OSError as error:
        raise DataError(f"{config.out}: cannot be written ({error}); the last complete checkpoint is kept") from error
    record = network.model_config.training
    record.update(
        {
            "config": config_dict(config),
            "queries_by_source": batches.sources,
            "pairs": batches.pairs,
            "steps": outcome.global_step,
            "final_loss": round(outcome.training_loss, 4),
            "cores": available_threads(),
            "minutes_of_last_sitting": round((time.monotonic() - started) / 60, 1),
            "precision": "bf16" if use_bf16(config.optim.precision) else config.optim.precision.replace("auto", "fp32"),
        }
    )
    best = trainer.state.best_metric
    if best is not None:
        record["validation"] = {config.stop.metric: round(best, 4)}
    if has_heads(base):
        record["continued"] = read_config(base).training
    if config.lora is not None:
        network.encoder = network.encoder.merge_and_unload()  # type: ignore[operator]
    for name, weight in network.state_dict().items():
        if name in base_weights:
            weight.lerp_(base_weights[name].to(weight.device), config.base_share)
    directory = config.out / "model"
    if trainer.is_world_process_zero():
        save_network(network, base, directory)
    return directory
