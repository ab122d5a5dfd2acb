"""A model that is trained and exported in seconds: two small layers with random weights, and the shipped tokenizer."""

from __future__ import annotations

from pathlib import Path

from secateur.models.checkpoint import ModelConfig, load_tokenizer, resolve
from secateur.models.encoding import PairEncoder


def write_tiny_checkpoint(directory: Path, window: int) -> Path:
    """Write the directory of such a model, with fp32 weights; it keeps nearly everything."""
    import torch
    from transformers import BertConfig, BertModel

    from secateur.models.network import PruningNetwork, save_network

    torch.manual_seed(0)
    shipped = resolve(None)
    tokenizer = load_tokenizer(shipped)
    encoder = BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=window,
        )
    )
    network = PruningNetwork(encoder, ModelConfig("tiny", window=window), PairEncoder(tokenizer, window).template)
    save_network(network, shipped, directory)
    return directory
