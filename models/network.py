"""The torch network: an encoder with a rank head (one logit per pair) and a prune head (one logit per token)."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from secateur.models.checkpoint import (
    CONFIG,
    ONNX_FP16,
    TOKENIZER,
    WEIGHTS,
    ModelConfig,
    read_config,
    read_encoder_config,
    write_config,
)
from secateur.models.encoding import PairTemplate
from secateur.models.errors import MissingExtraError, ModelError
from secateur.models.files import atomic_path, is_model_file
from secateur.models.heads import FirstTokenRankHead, PooledRankHead, TokenPruneHead, UnitPooledPruneHead, classifier_of
from secateur.models.sums import write_sums


def _masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class PruningNetwork(nn.Module):
    """A cross-encoder, made of a Hugging Face encoder, that scores the pair and every token in one forward pass."""

    def __init__(self, encoder: nn.Module, config: ModelConfig, template: PairTemplate) -> None:
        super().__init__()
        encoder_config: PretrainedConfig = encoder.config  # type: ignore[assignment]
        hidden = int(encoder_config.hidden_size)
        self.encoder = encoder
        pooled, self.reads_units = config.rank_head == "pooled", config.prune_head == "unit_pooled"
        self.rank = PooledRankHead(hidden) if pooled else FirstTokenRankHead(hidden, config.rank_head)
        bilinear = config.prune_head == "bilinear"
        self.prune = UnitPooledPruneHead(hidden) if self.reads_units else TokenPruneHead(hidden, bilinear)
        self.model_config = config
        self.uses_types = int(getattr(encoder_config, "type_vocab_size", 0) or 0) > 1
        self._separator = template.middle[-1]
        self._prefix_length = len(template.prefix)
        self._separators_before_passage = (template.prefix + template.middle).count(self._separator)
        self._separators_before_query = template.prefix.count(self._separator)

    def _segments(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return boolean masks [batch, tokens] of the query's and the passage's tokens, without special tokens."""
        # Separators tell them apart even for encoders without token types. `PairEncoder` writes none for a text's own.
        is_separator = input_ids == self._separator
        seen = is_separator.long().cumsum(1)
        inside = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0) >= self._prefix_length
        query = (seen == self._separators_before_query) & ~is_separator & inside
        passage = (seen == self._separators_before_passage) & ~is_separator
        return query, passage

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        unit_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Score a batch of windows.

        Args:
            input_ids: int64[batch, tokens].
            attention_mask: int64[batch, tokens], 0 on padding, which is on the right.
            token_type_ids: int64[batch, tokens], for encoders that use them.
            unit_ids: int64[batch, tokens], unit of each text token, -1 for others; for heads that pool units.

        Returns:
            Relevance logits float32[batch], and keep logits float32[batch, tokens] for the passage's tokens.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.uses_types:
            inputs["token_type_ids"] = token_type_ids if token_type_ids is not None else torch.zeros_like(input_ids)
        states = self.encoder(**inputs).last_hidden_state
        query_mask, passage_mask = self._segments(input_ids)
        attended = attention_mask.bool()
        query = _masked_mean(states, query_mask & attended)
        passage = _masked_mean(states, passage_mask & attended)
        keep = self.prune(states, query, unit_ids) if self.reads_units else self.prune(states, query)
        return self.rank(states, query, passage).float(), keep.float()


# Names of the dropout rates in the configurations of different encoders.
_HIDDEN_RATES = ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout")
_ATTENTION_RATES = ("attention_probs_dropout_prob", "attention_dropout")


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout rates of hidden states and attention weights (None: as hidden) that replace an encoder's own."""

    hidden: float | None = None
    attention: float | None = None

    def override(self, config: PretrainedConfig) -> None:
        """Set the rates in an encoder's configuration."""
        attention = self.hidden if self.attention is None else self.attention
        rates = dict.fromkeys(_HIDDEN_RATES, self.hidden) | dict.fromkeys(_ATTENTION_RATES, attention)
        for name, rate in rates.items():
            if rate is not None and hasattr(config, name):
                setattr(config, name, rate)


def new_network(base: Path, config: ModelConfig, template: PairTemplate, dropout: Dropout) -> PruningNetwork:
    """Put new heads on a pretrained encoder; a rank head of its form takes the weights of the base's classifier."""
    encoder_config = AutoConfig.from_pretrained(str(base))
    dropout.override(encoder_config)
    encoder = AutoModel.from_pretrained(str(base), config=encoder_config, dtype=torch.float32)
    network = PruningNetwork(encoder, config, template)
    classifier = classifier_of(base)
    if classifier is not None and classifier.rank_head == config.rank_head:
        network.rank.load_state_dict(classifier.weights(base / WEIGHTS))
    return network


def continued_network(base: Path, config: ModelConfig, template: PairTemplate, dropout: Dropout) -> PruningNetwork:
    """Load encoder and heads of a secateur model, which must be those of the new settings, to train them further."""
    earlier = read_config(base)
    if (earlier.rank_head, earlier.prune_head) != (config.rank_head, config.prune_head):
        raise ModelError(
            f"{base} has rank_head {earlier.rank_head} and prune_head {earlier.prune_head}, the run has "
            f"{config.rank_head} and {config.prune_head}; training can continue only with the same heads"
        )
    return _read_network(base, config, template, dropout)


def save_network(network: PruningNetwork, tokenizer_directory: Path, directory: Path) -> None:
    """Write a model directory: configuration, weights, the tokenizer's files, and their checksums."""
    directory.mkdir(parents=True, exist_ok=True)
    encoder_config: PretrainedConfig = network.encoder.config  # type: ignore[assignment]
    encoder_section = json.loads(encoder_config.to_json_string(use_diff=False))
    encoder_section.pop("_name_or_path", None)  # a path on this machine
    write_config(directory, encoder_section, network.model_config)
    for name in (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (tokenizer_directory / name).is_file() and tokenizer_directory.resolve() != directory.resolve():
            shutil.copyfile(tokenizer_directory / name, directory / name)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(directory / WEIGHTS) as partial:
        save_file(weights, partial, metadata={"format": "pt"})
    write_sums(directory, changed=(CONFIG, TOKENIZER, WEIGHTS))


def load_network(directory: Path) -> PruningNetwork:
    """Load the network of a model directory, in evaluation mode, or raise a ModelError of what does not fit."""
    template = PairTemplate.of(Tokenizer.from_file(str(directory / TOKENIZER)))
    return _read_network(directory, read_config(directory), template, Dropout()).eval()


_ONNX_ROOT = "network."  # prefix of the network's parameters in the exported module
_ONNX_HALF = ".fp16"  # suffix of weights that are stored in half precision


def _read_onnx_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict of the network in an exported fp16 file, in fp32.

    The exporter keeps the names of parameters, except for the matrices of linear layers, which it transposes and
    numbers. The node of the product still has the layer's name.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    try:
        graph = onnx.load(path).graph
        stored = {weight.name.removesuffix(_ONNX_HALF): numpy_helper.to_array(weight) for weight in graph.initializer}
    except Exception as error:  # protobuf and onnx raise types of their own
        raise ModelError(f"{path}: cannot be read as an ONNX file ({error})") from error
    found = {name.removeprefix(_ONNX_ROOT): array for name, array in stored.items() if name.startswith(_ONNX_ROOT)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            # "/network/encoder/layer.0/attention/self/query/MatMul"
            layer = node.name.strip("/").split("/")[1:-1]
            found[".".join([*layer, "weight"])] = stored[node.input[1]].T
    return {name: torch.from_numpy(np.array(array, dtype=np.float32, order="C")) for name, array in found.items()}


def _read_weights(directory: Path) -> dict[str, Tensor]:
    """Read fp32 weights, or those of the fp16 file if a model is shipped without them."""
    if is_model_file(directory / WEIGHTS):
        try:
            return load_file(directory / WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{directory / WEIGHTS}: cannot be read ({error}); fetch or export it again") from error
    if is_model_file(directory / ONNX_FP16):
        return _read_onnx_weights(directory / ONNX_FP16)
    raise ModelError(f"{directory}: neither {WEIGHTS} nor {ONNX_FP16} exists, so torch cannot run the model")


def _read_network(directory: Path, config: ModelConfig, template: PairTemplate, dropout: Dropout) -> PruningNetwork:
    weights = _read_weights(directory)
    try:
        encoder_config = AutoConfig.for_model(**read_encoder_config(directory))
        dropout.override(encoder_config)
        encoder = AutoModel.from_config(encoder_config)  # type: ignore[no-untyped-call]
        network = PruningNetwork(encoder, config, template)
    except Exception as error:  # transformers and torch raise types of their own for a wrong configuration
        raise ModelError(f"{directory / CONFIG}: the encoder cannot be created ({error})") from error
    # An exported graph lacks the encoder's own pooler, which does not affect the result.
    unused = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("encoder.pooler.")}
    try:
        network.load_state_dict(unused | weights)
    except RuntimeError as error:
        raise ModelError(f"{directory}: the weights do not fit {directory / 'config.json'}: {error}") from error
    return network
