"""A training run: from a configuration to a model directory."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import set_seed

from secateur.models.backends.base import available_threads
from secateur.models.checkpoint import has_heads, read_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.network import PruningNetwork, save_network
from secateur.models.segmenters import get_segmenter
from secateur.training.bases import merge_lora, start
from secateur.training.batches import GroupBatchSampler, GroupCollator, GroupDataset
from secateur.training.config import TrainConfig, config_dict
from secateur.training.pairs import GroupBuilder, build_groups
from secateur.training.streaming import BatchStream
from secateur.training.trainer import PruningTrainer, check_machine, last_checkpoint, training_arguments, use_bf16
from secateur.training.validation import validation_groups

log = logging.getLogger(__name__)

MODEL = "model"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class _Batches:
    """What a run learns from.

    Attributes:
        loader: the batches of all epochs, those of this process.
        pairs: drawn.
        sources: number of queries of each.
    """

    loader: DataLoader[Any]
    pairs: int
    sources: dict[str, int]


def _batches(config: TrainConfig, encoder: PairEncoder, collator: GroupCollator, rank: int, world: int) -> _Batches:
    data, optim, segmenter = config.data, config.optim, get_segmenter(config.segmenter)
    pinned = torch.cuda.is_available()
    if data.streaming:
        if config.distill is not None:
            raise DataError("data.streaming: a teacher labels pairs in memory; leave it out, or `distill`")
        builder = GroupBuilder(encoder, segmenter, data, config.seed)
        count = math.ceil(data.pairs * optim.epochs / (optim.batch_size * world))
        stream = BatchStream(data, builder, count, optim.batch_size, config.seed, rank, world)
        loader: DataLoader[Any] = DataLoader(
            stream,
            batch_size=None,
            collate_fn=collator,
            num_workers=data.workers,
            # A fork of a process whose libraries have threads crashes sooner or later.
            multiprocessing_context="spawn" if data.workers else None,
            pin_memory=pinned,
        )
        return _Batches(loader, data.pairs, stream.sizes)
    groups, sources = build_groups(data, encoder, segmenter, config.seed, config.distill)
    sampler = GroupBatchSampler(groups, optim.batch_size, optim.epochs, config.seed, rank, world)
    loader = DataLoader(GroupDataset(groups), batch_sampler=sampler, collate_fn=collator, pin_memory=pinned)
    return _Batches(loader, sum(map(len, groups)), sources)


def _base_weights(config: TrainConfig, network: PruningNetwork, directory: Path) -> dict[str, torch.Tensor]:
    """Return the weights to average with at the end; none where no share of them is wanted."""
    if not config.base_share:
        return {}
    if not has_heads(directory):
        raise DataError(f"base_share: {config.base!r} has no heads of ours to average with; leave it out")
    if config.lora is not None:
        raise DataError("base_share: does not go with lora; leave one of them out")
    return {name: weight.clone() for name, weight in network.state_dict().items() if weight.is_floating_point()}


@torch.no_grad()
def _average(network: PruningNetwork, base: dict[str, torch.Tensor], share: float) -> None:
    """Move each weight by a share of the way back to where it started."""
    for name, weight in network.state_dict().items():
        if name in base:
            weight.lerp_(base[name].to(weight.device), share)


def train(config: TrainConfig) -> Path:
    """Run (or resume) a training run.

    Under `torchrun` each process trains on its share of every batch; the first one writes.

    Args:
        config: the run.

    Returns:
        The finished model's directory, ``config.out / "model"``, with fp32 weights.

    Raises:
        DataError: the data cannot be trained on, the loss is not finite, nothing can be written, or the configuration
            asks for what this machine does not have.
        ModelError: the base cannot be used, or a batch does not fit into memory.
    """
    check_machine(config)
    set_seed(config.seed)
    begin = start(config)
    network = begin.network
    base = _base_weights(config, network, begin.directory)
    validation = validation_groups(config, begin.encoder)
    arguments = training_arguments(config, judged=bool(validation))
    passage_type = begin.encoder.template.passage_type if network.uses_types else 0
    collator = GroupCollator(begin.pad_id, config.optim.pad_to_multiple_of, passage_type)
    batches = _batches(config, begin.encoder, collator, arguments.process_index, arguments.world_size)
    log.info("%d pairs from %d sources, %d steps", batches.pairs, len(batches.sources), len(batches.loader))
    trainer = PruningTrainer(config, network, arguments, batches.loader, validation, collator)
    last = last_checkpoint(config.out / CHECKPOINTS) if config.resume else None
    started = time.monotonic()
    try:
        outcome = trainer.train(resume_from_checkpoint=str(last) if last else None)
    except OSError as error:
        raise DataError(
            f"{config.out}: cannot be written ({error}); the last whole checkpoint is still there"
        ) from error
    network.model_config.training.update(
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
        network.model_config.training["validation"] = {config.stop.metric: round(best, 4)}
    if has_heads(begin.directory):
        network.model_config.training["continued"] = read_config(begin.directory).training
    if config.lora is not None:
        merge_lora(network)
    _average(network, base, config.base_share)
    directory = config.out / MODEL
    if trainer.is_world_process_zero():
        save_network(network, begin.directory, directory)
    return directory
