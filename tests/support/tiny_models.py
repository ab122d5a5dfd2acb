"""A network that is small enough to be trained in seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from secateur.models.checkpoint import TOKENIZER, resolve


def write_tiny_base(directory: Path) -> Path:
    """Write a random two-layer BERT with the shipped model's tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128
    )
    BertModel(config).save_pretrained(directory)
    (directory / TOKENIZER).write_bytes((resolve(None) / TOKENIZER).read_bytes())
    return directory
