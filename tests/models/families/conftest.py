"""Tiny random checkpoints in the layouts that Provence, XProvence and OpenProvence are published in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from secateur.models.checkpoint import CONFIG, TOKENIZER, WEIGHTS

TEXTS = [
    "The Eiffel Tower was built by the company of Gustave Eiffel from 1887 to 1889. Locals call it the iron lady.",
    "Who built the Eiffel Tower? When did people first land on the moon?",
    "Plants take in carbon dioxide and water and give off oxygen.\nNo. 東京は日本の首都です。",
]
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}

Network = TypeVar("Network", bound=nn.Module)
Reference = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's directory, and what transformers alone makes of its weights.

    Attributes:
        directory: in the published layout.
        reference: from `input_ids` and `attention_mask` [batch, tokens] to relevance logits [batch] and the logits of
            the two token labels [batch, tokens, 2].
    """

    directory: Path
    reference: Reference


def sentencepiece_like(cls: str, sep: str, pair: str) -> Tokenizer:
    """A Unigram tokenizer with SentencePiece's way with spaces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = [cls, "<pad>", sep, "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=pair, special_tokens=[(cls, 0), (sep, 2)]
    )
    return tokenizer


def byte_level() -> Tokenizer:
    """A byte-level BPE tokenizer with ModernBERT's template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["[CLS]", "[PAD]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    return tokenizer


def spread(module: Network) -> Network:
    """Give a module weights so large that tokens and pairs get scores of their own."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    spread(layer)
    return layer


def write(directory: Path, config: dict[str, Any], weights: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    directory.mkdir()
    (directory / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, directory / WEIGHTS)
    tokenizer.save(str(directory / TOKENIZER))


def named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": weight.detach().clone() for name, weight in module.state_dict().items()}


def make_provence(directory: Path) -> Checkpoint:
    """DeBERTa-v3: `deberta.*`, `pooler.dense`, `classifier`, `token_classifier`."""
    torch.manual_seed(1)
    tokenizer = sentencepiece_like("[CLS]", "[SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    config = DebertaV2Config(  # type: ignore[call-arg]  # its signature leaves out what it reads from others
        **SIZES,
        vocab_size=tokenizer.get_vocab_size() + 4,
        max_position_embeddings=512,
        relative_attention=True,
        position_biased_input=False,
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        type_vocab_size=0,
        pad_token_id=1,
        num_labels=1,
    )
    model = spread(DebertaV2ForSequenceClassification(config))
    token_classifier = linear(SIZES["hidden_size"], 2)
    published = config.to_dict() | {
        "architectures": ["Provence"],
        "auto_map": {"AutoConfig": "modeling_provence.ProvenceConfig", "AutoModel": "modeling_provence.Provence"},
        "model_type": "Provence",
        "torch_dtype": "float32",
    }
    weights = dict(model.state_dict()) | named("token_classifier", token_classifier)
    write(directory, published, weights, tokenizer)

    def reference(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = model.deberta(ids, attention_mask=mask).last_hidden_state
        return model(ids, attention_mask=mask).logits[:, 0], token_classifier(states)

    return Checkpoint(directory, reference)


def make_xprovence(directory: Path) -> Checkpoint:
    """XLM-RoBERTa: `roberta.*` with its pooler, `classifier`, `token_classifier`."""
    torch.manual_seed(2)
    tokenizer = sentencepiece_like("<s>", "</s>", "<s> $A </s> </s> $B </s>")
    config = XLMRobertaConfig(  # type: ignore[call-arg]  # num_labels is not in its signature
        **SIZES,
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        num_labels=1,
    )
    model = spread(XLMRobertaModel(config))
    classifier, token_classifier = linear(SIZES["hidden_size"], 1), linear(SIZES["hidden_size"], 2)
    published = config.to_dict() | {
        "architectures": ["XProvence"],
        "auto_map": {"AutoModel": "modeling_xprovence_hf.XProvence"},
        "model_type": "xlm-roberta",
    }
    weights = {
        **named("roberta", model),
        **named("classifier", classifier),
        **named("token_classifier", token_classifier),
        # transformers before 4.31 saved this.
        "roberta.embeddings.position_ids": torch.arange(514).unsqueeze(0),
    }
    write(directory, published, weights, tokenizer)

    def reference(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        outputs = model(ids, attention_mask=mask)
        return classifier(outputs.pooler_output)[:, 0], token_classifier(outputs.last_hidden_state)

    return Checkpoint(directory, reference)


def make_open_provence(directory: Path, *, pooling: Literal["cls", "mean"] = "cls", legacy: bool = False) -> Checkpoint:
    """ModernBERT: `ranking_model.*`, `pruning_head.classifier`; ``legacy`` checkpoints leave out the first prefix."""
    torch.manual_seed(3)
    tokenizer = byte_level()
    config = ModernBertConfig(  # type: ignore[call-arg]  # num_labels is not in its signature
        **SIZES | {"num_hidden_layers": 4},
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=1024,
        local_attention=16,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 90_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5_000.0},
        },
        classifier_pooling=pooling,
        pad_token_id=1,
        bos_token_id=0,
        cls_token_id=0,
        eos_token_id=2,
        sep_token_id=2,
        num_labels=1,
    )
    model = spread(ModernBertForSequenceClassification(config))
    head = linear(SIZES["hidden_size"], 2)
    # As transformers 4.57 writes it.
    base = {key: value for key, value in config.to_dict().items() if key not in ("rope_parameters", "layer_types")} | {
        "global_rope_theta": 90_000.0,
        "local_rope_theta": 5_000.0,
        "global_attn_every_n_layers": 3,
        "reference_compile": None,
        "repad_logits_with_grad": False,
        "tie_encoder_decoder": False,
        "pruned_heads": {},
        "use_bfloat16": False,
        "max_length": 20,
        "num_beams": 1,
        "dtype": "bfloat16",
    }
    published = {
        "architectures": ["OpenProvenceForSequenceClassification"],
        "auto_map": {"AutoModel": "modeling_open_provence_standalone.OpenProvenceForSequenceClassification"},
        "model_type": "open_provence",
        "mode": "reranking_pruning",
        "base_model_config": base,
        "pruning_config": {"hidden_size": SIZES["hidden_size"], "num_labels": 2},
        "max_length": 250,
        "num_pruning_labels": 2,
        "default_threadshold": 0.05,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
    }
    ranking = model.state_dict() if legacy else named("ranking_model", model)
    write(directory, published, {**ranking, **named("pruning_head.classifier", head)}, tokenizer)

    def reference(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        before_norm: list[Tensor] = []
        hook = model.model.final_norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
        relevance = model(input_ids=ids, attention_mask=mask).logits[:, 0]
        hook.remove()
        return relevance, head(before_norm[0])

    return Checkpoint(directory, reference)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """A checkpoint of every layout, by its family's name; the variants of OpenProvence's have names of their own."""
    root = tmp_path_factory.mktemp("families")
    return {
        "Provence": make_provence(root / "provence"),
        "XProvence": make_xprovence(root / "xprovence"),
        "OpenProvence": make_open_provence(root / "open-provence"),
        "OpenProvence, mean pooling": make_open_provence(root / "open-provence-mean", pooling="mean"),
        "OpenProvence, legacy": make_open_provence(root / "open-provence-legacy", legacy=True),
    }
