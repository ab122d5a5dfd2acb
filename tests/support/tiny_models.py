"""Models that are trained, exported or run in seconds: small layers with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.models.checkpoint import TOKENIZER, ModelConfig, load_tokenizer, resolve
from secateur.models.encoding import PairEncoder


def _encoder(positions: int, layers: int) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
    )
    return BertModel(config)


def write_tiny_base(directory: Path) -> Path:
    """Write the directory of an encoder with the shipped tokenizer, to be trained."""
    _encoder(128, 2).save_pretrained(directory)
    (directory / TOKENIZER).write_bytes((resolve(None) / TOKENIZER).read_bytes())
    return directory


def write_tiny_checkpoint(directory: Path, window: int, layers: int = 2) -> Path:
    """Write the directory of a model with the shipped tokenizer and fp32 weights; it keeps nearly everything.

    The time of an export grows with the number of layers.
    """
    from secateur.models.network import PruningNetwork, save_network

    template = PairEncoder(load_tokenizer(resolve(None)), window).template
    network = PruningNetwork(_encoder(window, layers), ModelConfig("tiny", window=window), template)
    save_network(network, resolve(None), directory)
    return directory


def write_cross_encoder(directory: Path, base_model: Path) -> Path:
    """Write the directory of a tiny BERT with a relevance head, and MiniLM's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(  # type: ignore[call-arg]  # num_labels is not in its signature
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    return directory
