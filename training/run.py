"""A training run: from a configuration to a model directory."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import set_seed

from secateur.models.backends.base import available_threads
from secateur.models.checkpoint import has_heads, read_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.network import PruningNetwork, save_network
from secateur.models.segmenters import get_segmenter
from secateur.training.bases import Base, load_base, merge_lora
from secateur.training.batches import GroupBatchSampler, GroupCollator
from secateur.training.config import TrainConfig, config_dict
from secateur.training.pairs import Group, GroupBuilder, build_groups
from secateur.training.streaming import BatchStream
from secateur.training.trainer import (
    CHECKPOINTS,
    PruningTrainer,
    check_machine,
    last_checkpoint,
    training_arguments,
    use_bf16,
)
from secateur.training.validation import validation_groups

log = logging.getLogger(__name__)

MODEL = "model"


@dataclass(frozen=True, slots=True)
class _Batches:
    """The training data of a run.

    Attributes:
        loader: This process's batches of all epochs.
        pairs: Number of sampled pairs.
        sources: Number of queries, by source.
    """

    loader: DataLoader[Any]
    pairs: int
    sources: dict[str, int]


def _batches(config: TrainConfig, encoder: PairEncoder, collator: GroupCollator, rank: int, world: int) -> _Batches:
    data, optim, segmenter = config.data, config.optim, get_segmenter(config.segmenter)
    pinned = torch.cuda.is_available()
    if data.streaming:
        if config.teacher is not None:
            raise DataError("data.streaming: a teacher labels pairs in memory; leave out `streaming` or `teacher`")
        builder = GroupBuilder(encoder, segmenter, data, config.seed)
        count = math.ceil(data.pairs * optim.epochs / (optim.batch_size * world))
        stream = BatchStream(data, builder, count, optim.batch_size, config.seed, rank, world)
        loader: DataLoader[Any] = DataLoader(
            stream,
            batch_size=None,
            collate_fn=collator,
            num_workers=data.workers,
            # Forking a process with threads is unsafe.
            multiprocessing_context="spawn" if data.workers else None,
            pin_memory=pinned,
        )
        return _Batches(loader, data.pairs, stream.sizes)
    groups, sources = build_groups(data, encoder, segmenter, config.seed, config.teacher)
    sampler = GroupBatchSampler(groups, optim.batch_size, optim.epochs, config.seed, rank, world)
    dataset = cast("Dataset[Group]", groups)  # a list is a map-style dataset
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collator, pin_memory=pinned)
    return _Batches(loader, sum(map(len, groups)), sources)


def _base_weights(config: TrainConfig, base: Base) -> dict[str, torch.Tensor]:
    """Return the weights to average with at the end; none unless ``base_share`` is given."""
    if not config.base_share:
        return {}
    if not has_heads(base.directory):
        raise DataError(f"base_share: {config.base!r} is no secateur model to average with; leave `base_share` out")
    if config.lora is not None:
        raise DataError("base_share: cannot be combined with `lora`; leave one of them out")
    return {name: weight.clone() for name, weight in base.network.state_dict().items() if weight.is_floating_point()}


@torch.no_grad()
def _average(network: PruningNetwork, base_weights: dict[str, torch.Tensor], share: float) -> None:
    """Average the weights with those of the base."""
    for name, weight in network.state_dict().items():
        if name in base_weights:
            weight.lerp_(base_weights[name].to(weight.device), share)


def train(config: TrainConfig) -> Path:
    """Run (or resume) a training run.

    Under `torchrun` each process trains on its share of every batch; the first one writes.

    Args:
        config: The run.

    Returns:
        The finished model's directory, ``config.out / "model"``, with fp32 weights.

    Raises:
        DataError: the data cannot be trained on, the loss is not finite, nothing can be written, or the machine lacks
            something that the configuration requires.
        ModelError: the base cannot be used, or a batch does not fit into memory.
    """
    check_machine(config)
    set_seed(config.seed)
    base = load_base(config)
    network = base.network
    base_weights = _base_weights(config, base)
    validation = validation_groups(config, base.encoder)
    arguments = training_arguments(config, judged=bool(validation))
    passage_type = base.encoder.template.passage_type if network.uses_types else 0
    collator = GroupCollator(base.pad_id, config.optim.pad_to_multiple_of, passage_type)
    batches = _batches(config, base.encoder, collator, arguments.process_index, arguments.world_size)
    log.info("%d pairs from %d sources, %d steps", batches.pairs, len(batches.sources), len(batches.loader))
    trainer = PruningTrainer(config, network, arguments, batches.loader, validation, collator)
    last = last_checkpoint(config.out / CHECKPOINTS) if config.resume else None
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
    if has_heads(base.directory):
        record["continued"] = read_config(base.directory).training
    if config.lora is not None:
        merge_lora(network)
    _average(network, base_weights, config.base_share)
    directory = config.out / MODEL
    if trainer.is_world_process_zero():
        save_network(network, base.directory, directory)
    return directory
