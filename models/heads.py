"""The heads of a `PruningNetwork`: a relevance logit per pair, and a keep logit per token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers.activations import ACT2FN

from secateur.models.checkpoint import CONFIG, RankHead
from secateur.models.errors import ModelError

_BILINEAR_RANK = 64


class PooledRankHead(nn.Module):
    """Relevance from the first state, the mean query and passage states, their product, and a scaled cosine.

    With the cosine, training starts from the similarity that a bi-encoder has already learned.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * hidden, 1)
        self.scale = nn.Parameter(torch.tensor(8.0))
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.constant_(self.linear.bias, -3.0)

    def forward(self, states: Tensor, query: Tensor, passage: Tensor) -> Tensor:
        """Return logits [batch] from states [batch, tokens, hidden] and mean states [batch, hidden]."""
        features = torch.cat([states[:, 0], query, passage, query * passage], dim=-1)
        cosine = (nn.functional.normalize(query, dim=-1) * nn.functional.normalize(passage, dim=-1)).sum(-1)
        logits: Tensor = self.linear(features).squeeze(-1) + self.scale * cosine
        return logits


class FirstTokenRankHead(nn.Module):
    """Relevance from the first token's state; as a classifier, through a dense layer with an activation."""

    def __init__(self, hidden: int, name: RankHead) -> None:
        super().__init__()
        self.dense = None if name == "linear" else nn.Linear(hidden, hidden)
        self.activation = None if name == "linear" else ACT2FN[name.removeprefix("classifier_")]
        self.linear = nn.Linear(hidden, 1)

    def forward(self, states: Tensor, query: Tensor, passage: Tensor) -> Tensor:
        """Return logits [batch] from states [batch, tokens, hidden]."""
        first = states[:, 0]
        if self.dense is not None and self.activation is not None:
            first = self.activation(self.dense(first))
        logits: Tensor = self.linear(first).squeeze(-1)
        return logits


class TokenPruneHead(nn.Module):
    """A logit per token: linear in its state, plus, if ``bilinear``, a low-rank product with the mean query state."""

    def __init__(self, hidden: int, bilinear: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 1)
        nn.init.constant_(self.linear.bias, -2.0)
        self.token = nn.Linear(hidden, _BILINEAR_RANK, bias=False) if bilinear else None
        self.query = nn.Linear(hidden, _BILINEAR_RANK, bias=False) if bilinear else None

    def forward(self, states: Tensor, query: Tensor) -> Tensor:
        """Return logits [batch, tokens] from states [batch, tokens, hidden] and the mean query state."""
        logits: Tensor = self.linear(states).squeeze(-1)
        if self.token is not None and self.query is not None:
            match = (self.token(states) * self.query(query).unsqueeze(1)).sum(-1)
            logits = logits + match / _BILINEAR_RANK**0.5
        return logits


class UnitPooledPruneHead(nn.Module):
    """A token's own logit plus that of its unit, from the mean of the unit's states; both with a bilinear term.

    A unit is judged as a whole this way, and still by the mean over its tokens, as all pruning is.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.tokens = TokenPruneHead(hidden, bilinear=True)
        self.units = TokenPruneHead(hidden, bilinear=True)
        nn.init.zeros_(self.units.linear.bias)

    def forward(self, states: Tensor, query: Tensor, unit_ids: Tensor) -> Tensor:
        """Return logits [batch, tokens] as `TokenPruneHead`; ``unit_ids`` are those of `batching.Batch`."""
        same = (unit_ids.unsqueeze(2) == unit_ids.unsqueeze(1)) & (unit_ids >= 0).unsqueeze(1)
        weights = same.to(states.dtype)
        pooled = torch.matmul(weights / weights.sum(-1, keepdim=True).clamp(min=1.0), states)
        logits: Tensor = self.tokens(states, query) + self.units(pooled, query)
        return logits


@dataclass(frozen=True, slots=True)
class Classifier:
    """A transformers architecture's classifier: the rank head of the same form, and the names of its two layers."""

    rank_head: RankHead
    dense: str
    linear: str

    def weights(self, path: Path) -> dict[str, Tensor]:
        """Return its weights as the state dict of a `FirstTokenRankHead`.

        Raises:
            ModelError: The file lacks them, or the classifier has more than one label.
        """
        layers = {"dense": self.dense, "linear": self.linear}
        try:
            with safe_open(path, framework="pt") as file:
                found = {
                    f"{ours}.{kind}": file.get_tensor(f"{theirs}.{kind}").float()
                    for ours, theirs in layers.items()
                    for kind in ("weight", "bias")
                }
        except Exception as error:  # safetensors raises types of its own
            raise ModelError(f"{path}: has no classifier that could become the rank head ({error})") from error
        labels = len(found["linear.weight"])
        if labels != 1:
            raise ModelError(
                f"{path}: the classifier has {labels} labels, but a rank head has one; set rank_head: pooled for a "
                "new one"
            )
        return found


_CLASSIFIERS = {
    "BertForSequenceClassification": Classifier("classifier_tanh", "bert.pooler.dense", "classifier"),
    "RobertaForSequenceClassification": Classifier("classifier_tanh", "classifier.dense", "classifier.out_proj"),
    "XLMRobertaForSequenceClassification": Classifier("classifier_tanh", "classifier.dense", "classifier.out_proj"),
    "ElectraForSequenceClassification": Classifier("classifier_gelu", "classifier.dense", "classifier.out_proj"),
    "DebertaV2ForSequenceClassification": Classifier("classifier_gelu", "pooler.dense", "classifier"),
    "DistilBertForSequenceClassification": Classifier("classifier_relu", "pre_classifier", "classifier"),
}


def classifier_of(base: Path) -> Classifier | None:
    """Return the classifier of a cross-encoder's directory; None for an encoder without one."""
    path = base / CONFIG
    if not path.is_file():
        return None
    architectures = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    return next((_CLASSIFIERS[name] for name in architectures if name in _CLASSIFIERS), None)
