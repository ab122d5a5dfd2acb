"""The networks of Provence and OpenProvence in their published sizes, with random weights, in our engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contestants.base import MAX_TOKENS, Workplace
from benchmarks.contestants.cross_encoder import torch_with_all_threads
from benchmarks.workload import BenchRequest
from secateur.models.backends.base import Backend, Output
from secateur.models.batching import Batch, BatchLimits
from secateur.models.checkpoint import ModelConfig, load_tokenizer, resolve
from secateur.models.encoding import PairEncoder
from secateur.models.pruner import Pruner

_PAD_ID = 0  # of our tokenizer, whose tokens all networks read

# naver/provence-reranker-debertav3-v1, the encoder of microsoft/deberta-v3-large: 435 M parameters.
_DEBERTA_V3_LARGE = {
    "vocab_size": 128_100,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
# hotchpotch/open-provence-reranker-v1-gte-modernbert-base, the encoder of answerdotai/ModernBERT-base: 149 M.
_MODERNBERT_BASE = {
    "vocab_size": 50_368,
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
}
# hotchpotch/open-provence-reranker-xsmall-v1, the encoder of sbintuitions/modernbert-ja-30m: 37 M, 10 M of them behind
# the embeddings.
_MODERNBERT_XSMALL = {
    "vocab_size": 102_400,
    "hidden_size": 256,
    "num_hidden_layers": 10,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "provence": _DEBERTA_V3_LARGE,
    "open-provence-base": _MODERNBERT_BASE,
    "open-provence-xsmall": _MODERNBERT_XSMALL,
}
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def random_network(name: str, sizes: str = "published") -> Any:
    """Build a network from its configuration, with random weights, in evaluation mode.

    Args:
        name: `provence`, `open-provence-base` or `open-provence-xsmall`.
        sizes: `published`, or `tiny` for a small network with the published vocabulary.
    """
    torch = torch_with_all_threads()
    from transformers import DebertaV2Config, ModernBertConfig

    from secateur.models.families.networks import OpenProvenceNetwork, ProvenceNetwork

    values = _PUBLISHED[name] | (_TINY if sizes == "tiny" else {}) | {"pad_token_id": _PAD_ID, "num_labels": 1}
    torch.manual_seed(0)
    if name == "provence":
        return ProvenceNetwork(DebertaV2Config(**values)).eval()
    return OpenProvenceNetwork(ModernBertConfig(**values)).eval()


class _NetworkBackend(Backend):
    """Runs a network in memory, in the batches of `TorchBackend`."""

    name = "torch"
    device = "cpu"
    precision = "fp32"
    limits = BatchLimits(rows=16, tokens=8192)

    def __init__(self, network: Any) -> None:
        self._torch = torch_with_all_threads()
        self._network = network

    def run(self, batch: Batch) -> Output:
        """Run one batch without gradients."""
        torch = self._torch
        with torch.inference_mode():
            relevance, keep = self._network(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask))
            return Output(relevance.sigmoid().numpy(), keep.sigmoid().numpy())


class RandomPruner:
    """A `Pruner` with a network of random weights, which costs as much with our segmentation, tokenizer and batching.

    Their own `process` comes with the checkpoints, and is not run here.

    Args:
        name: See `random_network`.
        workplace: Size of the network.
    """

    precision = "fp32"

    def __init__(self, name: str, workplace: Workplace) -> None:
        backend = _NetworkBackend(random_network(name, workplace.sizes))
        config = ModelConfig(name=name, window=MAX_TOKENS, rank_head="linear", prune_head="linear")
        encoder = PairEncoder(load_tokenizer(resolve(None)), MAX_TOKENS)
        self._pruner = Pruner(config, encoder, backend, None, _PAD_ID)

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return a call of `Pruner.prune`."""
        return lambda: self._pruner.prune(request.query, request.passages, truncate_query=True)
