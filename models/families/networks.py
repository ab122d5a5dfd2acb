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
from secateur.models.families.known import Family, FamilyName
from secateur.models.files import is_model_file

# Keys of an encoder's configuration that would select another class, precision or attention.
_LEFT_OUT = {"model_type", "auto_map", "architectures", "dtype", "torch_dtype", "attn_implementation"}
_SHOWN_NAMES = 4


def _logits(rank: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Return relevance logits [batch] and keep logits [batch, tokens] from the logits of the labels.

    The sigmoid of the difference of two logits is the softmax probability of the second label, "keep".
    """
    return rank[:, 0].float(), (token[..., 1] - token[..., 0]).float()


class _FirstTokenPooler(nn.Module):
    """DeBERTa's pooler, which in transformers is not part of the encoder: the first state, through a dense layer."""

    def __init__(self, hidden: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACT2FN[activation]

    def forward(self, states: Tensor) -> Tensor:
        """Return [batch, hidden] from states [batch, tokens, hidden]."""
        pooled: Tensor = self.activation(self.dense(states[:, 0]))
        return pooled


class ProvenceNetwork(nn.Module):
    """naver Provence: DeBERTa-v3 with a relevance logit from the pooled first token, and two labels per token.

    The relevance logit was trained by mean squared error on a cross-encoder's logits. Its sigmoid orders passages and
    is in [0, 1], but is not a calibrated probability.

    Args:
        config: Configuration of the encoder, with the number of relevance labels, of which the first is used.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.deberta = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        self.pooler = _FirstTokenPooler(config.hidden_size, config.pooler_hidden_act)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 1)
        self.token_classifier = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score a batch of windows like `PruningNetwork.forward`; token types are not used."""
        states = self.deberta(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return _logits(self.classifier(self.pooler(states)), self.token_classifier(states))


class XProvenceNetwork(nn.Module):
    """XProvence: like `ProvenceNetwork`, on XLM-RoBERTa with its own pooler."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.roberta = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 1)
        self.token_classifier = nn.Linear(config.hidden_size, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score a batch of windows like `PruningNetwork.forward`; token types are not used."""
        outputs = self.roberta(input_ids=input_ids, attention_mask=attention_mask)
        return _logits(self.classifier(outputs.pooler_output), self.token_classifier(outputs.last_hidden_state))


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


_NETWORKS: dict[FamilyName, tuple[Callable[[PretrainedConfig], nn.Module], Callable[[str], str]]] = {
    "Provence": (ProvenceNetwork, str),
    "XProvence": (XProvenceNetwork, str),
    "OpenProvence": (OpenProvenceNetwork, _own_name),
}


def load_family_network(directory: Path, family: Family) -> nn.Module:
    """Load a published checkpoint's network, in evaluation mode.

    Args:
        directory: Directory with `config.json` and `model.safetensors`.
        family: Family of the checkpoint.

    Returns:
        A module that is called like `secateur.models.network.PruningNetwork`.

    Raises:
        ModelError: The weights are missing, or do not fit the configuration.
    """
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
    _fill(network, weights, f"{directory / WEIGHTS} does not have the weights of {family.name}")
    return network.eval()


def _fill(network: nn.Module, weights: dict[str, Tensor], problem: str) -> None:
    """Load weights into a network, or raise a ModelError of ``problem`` and the names of those that do not fit."""
    expected: dict[str, Any] = network.state_dict()
    found = {name: weight for name, weight in weights.items() if name in expected or not _is_unused(name)}
    shared = expected.keys() & found.keys()
    wrong = {
        "missing": expected.keys() - shared,
        "unknown": found.keys() - shared,
        "of another shape": {name for name in shared if expected[name].shape != found[name].shape},
    }
    lines = [f"{kind}: {_shortened(names)}" for kind, names in wrong.items() if names]
    if lines:
        raise ModelError(f"{problem}: {'; '.join(lines)}")
    network.load_state_dict(found)


def _shortened(names: Iterable[str]) -> str:
    # Heads, which have fewer dots in their names, before the many weights of an encoder.
    ordered = sorted(names, key=lambda name: (name.count("."), name))
    more = len(ordered) - _SHOWN_NAMES
    return ", ".join(ordered[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
