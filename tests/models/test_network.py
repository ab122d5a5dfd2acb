"""The torch network of encoders of several families."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
)

from secateur.models.checkpoint import TOKENIZER, ModelConfig, load_tokenizer, resolve
from secateur.models.encoding import PairTemplate
from secateur.models.network import Dropout, PruningNetwork, continued_network, new_network, save_network

CONFIG = ModelConfig(name="tiny", window=64, rank_head="pooled", prune_head="bilinear")


def bert() -> PreTrainedModel:
    return BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=30522)
    )


def distilbert() -> PreTrainedModel:
    return DistilBertModel(DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=30522))


def modernbert() -> PreTrainedModel:
    config = ModernBertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=30522,
        pad_token_id=0,
        bos_token_id=101,
        eos_token_id=102,
        cls_token_id=101,
        sep_token_id=102,
    )
    return ModernBertModel(config)


FAMILIES = {"bert": bert, "distilbert": distilbert, "modernbert": modernbert}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(resolve(None))


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    FAMILIES[request.param]().save_pretrained(tmp_path)
    (tmp_path / TOKENIZER).write_bytes((resolve(None) / TOKENIZER).read_bytes())
    return tmp_path


def keep_logits(network: PruningNetwork) -> torch.Tensor:
    ids = torch.tensor([[101, *range(2000, 2006), 102, *range(3000, 3020), 102]])
    types = torch.tensor([[0] * 8 + [1] * 21])
    with torch.no_grad():
        return network(ids, torch.ones_like(ids), types)[1]


@pytest.mark.parametrize("hidden", [0.0, 0.3])
def test_the_run_decides_on_dropout_whatever_the_family_calls_it(
    base: Path, tokenizer: Tokenizer, hidden: float
) -> None:
    network = new_network(base, CONFIG, PairTemplate.of(tokenizer), Dropout(hidden, attention=0.0)).train()
    assert torch.equal(keep_logits(network), keep_logits(network)) is (hidden == 0)


def test_dropout_on_attention_alone(base: Path, tokenizer: Tokenizer) -> None:
    network = new_network(base, CONFIG, PairTemplate.of(tokenizer), Dropout(0.0, attention=0.5)).train()
    assert not torch.equal(keep_logits(network), keep_logits(network))


def test_attention_follows_the_hidden_states_unless_it_is_told_otherwise() -> None:
    config = BertConfig()
    Dropout(0.2).override(config)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.2, 0.2)
    Dropout(0.3, attention=0.0).override(config)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.0)
    Dropout().override(config)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.0)


@pytest.mark.slow
def test_a_model_that_goes_on_learning_takes_the_new_rates(base: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    template = PairTemplate.of(tokenizer)
    first = new_network(base, CONFIG, template, Dropout(0.0))
    save_network(first, base, tmp_path / "first")
    still = continued_network(tmp_path / "first", CONFIG, template, Dropout()).train()
    assert torch.equal(keep_logits(still), keep_logits(still))
    noisy = continued_network(tmp_path / "first", CONFIG, template, Dropout(0.3)).train()
    assert not torch.equal(keep_logits(noisy), keep_logits(noisy))
    assert torch.equal(keep_logits(noisy.eval()), keep_logits(first.eval()))
