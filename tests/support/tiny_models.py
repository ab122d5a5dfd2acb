"""Models that are trained and exported in seconds: two small layers with random weights, and the shipped tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.models.checkpoint import TOKENIZER, ModelConfig, load_tokenizer, resolve
from secateur.models.encoding import PairEncoder


def _encoder(positions: int) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertModel(BertConfig(**sizes, max_position_embeddings=positions))


def write_tiny_base(directory: Path) -> Path:
    """Write the directory of an encoder, to be trained."""
    _encoder(128).save_pretrained(directory)
    (directory / TOKENIZER).write_bytes((resolve(None) / TOKENIZER).read_bytes())
    return directory


def write_tiny_checkpoint(directory: Path, window: int) -> Path:
    """Write the directory of a model, with fp32 weights; it keeps nearly everything."""
    from secateur.models.network import PruningNetwork, save_network

    template = PairEncoder(load_tokenizer(resolve(None)), window).template
    network = PruningNetwork(_encoder(window), ModelConfig("tiny", window=window), template)
    save_network(network, resolve(None), directory)
    return directory
