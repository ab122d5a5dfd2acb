"""The base of a run: an encoder or an earlier model with its tokenizer, prepared for training."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from secateur.models.checkpoint import (
    PRETRAINED,
    TOKENIZER,
    ModelConfig,
    PruneHead,
    RankHead,
    check_encoder,
    has_heads,
    read_config,
    read_encoder_config,
)
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError, MissingExtraError, ModelError
from secateur.models.heads import classifier_of
from secateur.models.network import Dropout, PruningNetwork, continued_network, new_network
from secateur.training.config import LoraConfig, TrainConfig


@dataclass(frozen=True, slots=True)
class Base:
    """The encoder or model from which training starts.

    Attributes:
        directory: Directory that it was read from.
        network: Encoder and heads.
        encoder: Pair encoder with the window used in training.
        pad_id: Padding token of the tokenizer.
    """

    directory: Path
    network: PruningNetwork
    encoder: PairEncoder
    pad_id: int


def base_directory(base: str) -> Path:
    """Return the directory of a configuration's ``base``.

    Raises:
        ModelError: the package is not installed, or the directory has no fast tokenizer.
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
            directory = PRETRAINED / base
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


def _heads(config: TrainConfig, base: Path) -> tuple[RankHead, PruneHead]:
    """Return the forms of the heads, with `auto` resolved by the base."""
    if has_heads(base):
        earlier = read_config(base)
        own_rank, own_prune = earlier.rank_head, earlier.prune_head
    else:
        classifier = classifier_of(base)
        own_rank, own_prune = classifier.rank_head if classifier else "pooled", "bilinear"
    return (
        own_rank if config.rank_head == "auto" else config.rank_head,
        own_prune if config.prune_head == "auto" else config.prune_head,
    )


def load_base(config: TrainConfig) -> Base:
    """Load the base of a run and prepare it for training.

    Raises:
        ModelError: the base cannot be used.
        DataError: the window is larger than the encoder's.
    """
    base = base_directory(config.base)
    tokenizer: Tokenizer = Tokenizer.from_file(str(base / TOKENIZER))
    encoder = PairEncoder(tokenizer, min(config.optim.max_tokens, config.window))
    rank_head, prune_head = _heads(config, base)
    model_config = ModelConfig(
        name=config.name,
        window=config.window,
        rank_head=rank_head,
        prune_head=prune_head,
        segmenter=config.segmenter,
    )
    make = continued_network if has_heads(base) else new_network
    dropout = Dropout(config.optim.dropout, config.optim.attention_dropout)
    network = make(base, model_config, encoder.template, dropout)
    positions = check_encoder(network.encoder.config.to_dict(), base).positions  # type: ignore[union-attr,operator]
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
    return Base(base, network, encoder, int(read_encoder_config(base).get("pad_token_id") or 0))


def merge_lora(network: PruningNetwork) -> None:
    """Add the low-rank updates to the encoder's weights."""
    network.encoder = network.encoder.merge_and_unload()  # type: ignore[operator]
