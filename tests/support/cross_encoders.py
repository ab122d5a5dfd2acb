"""A cross-encoder where none can be downloaded."""

from __future__ import annotations

from pathlib import Path


def write_cross_encoder(directory: Path, base_model: Path) -> Path:
    """Write a tiny BERT of random numbers with a relevance head, and MiniLM's vocabulary."""
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
