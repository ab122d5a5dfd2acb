"""The torch networks of the families. Their parameters have the names of the published weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PretrainedConfig
from transformers.activations import ACT2FN

from secateur.models.checkpoint import CONFIG, WEIGHTS
from secateur.models.errors import ModelError
from secateur.models.families.known import Family
from secateur.models.files import is_model_file

# Keys of an encoder's configuration that would select another class, precision or attention.
_LEFT_OUT = {"model_type", "auto_map", "architectures", "dtype", "torch_dtype", "attn_implementation"}
_SHOWN_NAMES = 4


def _logits(rank: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Return relevance logits [batch] and keep logits [batch, tokens] from the logits of the labels."""
    # The sigmoid of the difference of two logits is the softmax probability of the second label, "keep".
    return rank[:, 0].float(), (token[..., 1] - token[..., 0]).float()


class _FirstTokenPooler(nn.Module):
    """DeBERTa's pooler: from states [batch, tokens, hidden] to [batch, hidden]."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.pooler_hidden_act]

    def forward(self, states: Tensor) -> Tensor:
        pooled: Tensor = self.activation(self.dense(states[:, 0]))
        return pooled


class ProvenceNetwork(nn.Module):
    """naver's Provence and XProvence: a relevance logit from the pooled first token, and two labels per token.

    Provence is DeBERTa-v3, whose relevance logit was trained by mean squared error on a cross-encoder's logits: its
    sigmoid orders passages and is in [0, 1], but is not a calibrated probability. XProvence is XLM-RoBERTa.

    Args:
        config: Configuration of the encoder, with the number of relevance labels, of which the first is used.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        encoder = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        self._name = "roberta" if config.model_type == "xlm-roberta" else "deberta"
        self.add_module(self._name, encoder)
        # In transformers, DeBERTa's pooler is not part of the encoder.
        self.pooler = None if hasattr(encoder, "pooler") else _FirstTokenPooler(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 1)
        self.token_classifier = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score a batch of windows like `PruningNetwork.forward`; token types are not used."""
        outputs = self.get_submodule(self._name)(input_ids=input_ids, attention_mask=attention_mask)
        states = outputs.last_hidden_state
        pooled = outputs.pooler_output if self.pooler is None else self.pooler(states)
        return _logits(self.classifier(pooled), self.token_classifier(states))


class OpenProvenceNetwork(nn.Module):
    """OpenProvence: a ModernBERT reranker, and two labels per token.

    The pruning head was trained on the states before the final layer norm, the last hidden state of transformers 4.57.
    In later versions it is the state after the norm, so the norm is moved out of the encoder and the reranker's pooling
    is repeated here.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.ranking_model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32, attn_implementation="sdpa"
        )
        self.final_norm = self.ranking_model.model.final_norm
        self.ranking_model.model.final_norm = nn.Identity()
        self.pruning_head = nn.ModuleDict({"classifier": nn.Linear(config.hidden_size, 2)})
        self._mean_pooling = config.classifier_pooling == "mean"

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score a batch of windows like `PruningNetwork.forward`; ModernBERT has no token types."""
        reranker = self.ranking_model
        states = reranker.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        normed = self.final_norm(states)
        if self._mean_pooling:
            mask = attention_mask.to(normed.dtype).unsqueeze(-1)
            pooled = (normed * mask).sum(1) / mask.sum(1)
        else:
            pooled = normed[:, 0]
        return _logits(reranker.classifier(reranker.head(pooled)), self.pruning_head["classifier"](states))


def _own_name(published: str) -> str:
    """Return the network's name of a published weight; early OpenProvence checkpoints lack the reranker's prefix."""
    if not published.startswith(("ranking_model.", "pruning_head.")):
        published = f"ranking_model.{published}"
    return published.removeprefix("ranking_model.model.") if ".model.final_norm." in published else published


def _is_unused(name: str) -> bool:
    """Whether a weight does not affect the scores: position ids of older transformers, OpenProvence's pooling."""
    return name.endswith("embeddings.position_ids") or name.startswith("pruning_head.pooling_weights.")


_NETWORKS: dict[str, tuple[Callable[[PretrainedConfig], nn.Module], Callable[[str], str]]] = {
    "Provence": (ProvenceNetwork, str),
    "XProvence": (ProvenceNetwork, str),
    "OpenProvence": (OpenProvenceNetwork, _own_name),
}


def load_family_network(directory: Path, family: Family) -> nn.Module:
    """Load a published checkpoint's network, which is called like `PruningNetwork`, in evaluation mode."""
    if not is_model_file(directory / WEIGHTS):
        raise ModelError(f"{directory}: {WEIGHTS} is missing; {family.name} checkpoints need it")
    make, own_name = _NETWORKS[family.name]
    section = {key: value for key, value in family.encoder_config(directory).items() if key not in _LEFT_OUT}
    try:
        network = make(AutoConfig.for_model(family.encoder_type, **section))
        weights = {own_name(name): weight for name, weight in load_file(directory / WEIGHTS).items()}
    except SafetensorError as error:
        raise ModelError(f"{directory / WEIGHTS}: cannot be read ({error})") from error
    except Exception as error:  # transformers raises types of its own for a wrong configuration
        raise ModelError(f"{directory / CONFIG}: the {family.name} network cannot be created ({error})") from error
    expected: dict[str, Any] = network.state_dict()
    found = {name: weight for name, weight in weights.items() if name in expected or not _is_unused(name)}
    shared = expected.keys() & found.keys()
    wrong = {
        "missing": expected.keys() - shared,
        "unknown": found.keys() - shared,
        "of another shape": {name for name in shared if expected[name].shape != found[name].shape},
    }
    problems = [f"{kind}: {_shortened(names)}" for kind, names in wrong.items() if names]
    if problems:
        raise ModelError(f"{directory / WEIGHTS} does not have the weights of {family.name}: {'; '.join(problems)}")
    network.load_state_dict(found)
    return network.eval()


def _shortened(names: Iterable[str]) -> str:
    # Heads, which have fewer dots in their names, before the many weights of an encoder.
    ordered = sorted(names, key=lambda name: (name.count("."), name))
    more = len(ordered) - _SHOWN_NAMES
    return ", ".join(ordered[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
