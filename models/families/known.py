"""Published pruner checkpoints of other projects: how each family is recognised, its settings, and its queries.

| family | network | weights and licence, according to the authors |
| --- | --- | --- |
| Provence | DeBERTa-v3 | `naver/provence-reranker-debertav3-v1`, CC BY-NC 4.0: no commercial use |
| XProvence | XLM-RoBERTa (bge-reranker-v2-m3) | `naver/xprovence-reranker-bgem3-v2`, no commercial use |
| OpenProvence | ModernBERT | `hotchpotch/open-provence-reranker-*`, MIT |

These weights are not shipped; the user agrees to their licence. The checkpoints run on the torch backend in fp32, with
this package's own segmentation, windows and merging.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from secateur.models import checkpoint
from secateur.models.checkpoint import CONFIG, ModelConfig, has_heads, read_encoder_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import ModelError, shown

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Family:
    """The properties of a family's checkpoints.

    Attributes:
        name: Name given by the authors.
        classes: Names in `architectures`, `auto_map` or `model_type`; one match is enough.
        encoder_type: `model_type` of the encoder in transformers.
        encoder_key: Key of the encoder's configuration in `config.json`; None for the top level.
        window_key: Key of a window in `config.json` that replaces 512 tokens.
        threshold: Default keep threshold of the authors, in [0, 1].
        threshold_keys: Keys of another threshold in `config.json`; the first one found is used.
        one_separator: Whether training had one separator between the texts, despite the tokenizer's template.
        plain_query: Whether training had queries in lower case and without punctuation.
    """

    name: str
    classes: Set[str]
    encoder_type: str
    encoder_key: str | None = None
    window_key: str = ""
    threshold: float = 0.1
    threshold_keys: tuple[str, ...] = ()
    one_separator: bool = False
    plain_query: bool = False

    def encoder_config(self, directory: Path) -> dict[str, Any]:
        """Read the encoder's own configuration, or raise a ModelError if it is of another architecture."""
        config = read_encoder_config(directory)
        if self.encoder_key is None:
            return config
        section = config.get(self.encoder_key)
        if not isinstance(section, dict) or section.get("model_type") != self.encoder_type:
            raise ModelError(
                f"{directory / CONFIG}: {self.encoder_key} must have the model_type {self.encoder_type!r} in "
                f"{self.name} checkpoints (found {shown(section)}); fetch the checkpoint again"
            )
        return section

    def settings(self, directory: Path) -> ModelConfig:
        """Return the settings of a checkpoint, named after its directory."""
        config, path = read_encoder_config(directory), directory / CONFIG
        window = config.get(self.window_key, 512)
        thresholds = [config[key] for key in self.threshold_keys if config.get(key) is not None]
        content = {
            "name": directory.resolve().name,
            "window": window - window % 32 if isinstance(window, int) else window,
            "threshold": thresholds[0] if thresholds else self.threshold,
        }
        settings = checkpoint.validated(content, ModelConfig, path, fix="fetch the checkpoint again")
        section = self.encoder_config(directory) | {"model_type": self.encoder_type}
        encoder = checkpoint.check_encoder(section, path, self.encoder_key or "")
        checkpoint.check_window(settings, encoder, path)
        return settings


# Provence: Chirkova et al., ICLR 2025, arXiv 2501.16214. Layout, [CLS] query [SEP] passage [SEP] and 512 tokens:
# github.com/naver/bergen, scripts/provence/{modeling,train}_provence.py. Its published `process` converts queries to
# lower case without punctuation (like MS MARCO's), and its threshold is 0.1, for the share of a sentence's tokens above
# it; `merge` takes the mean probability instead.
# XProvence: arXiv 2601.18886. github.com/naver/bergen, scripts/xprovence/{modeling,train}_xprovence.py: trained on
# <s> query </s> passage </s> of 512 tokens, although its tokenizer's template has two separators. Its model card
# recommends a threshold of 0.3.
# OpenProvence: github.com/hotchpotch/open_provence, open_provence/{encoder,modeling_open_provence_standalone}.py;
# `threadshold` is their spelling.
FAMILIES = (
    Family("Provence", {"Provence", "DebertaV2ForCompressionAndRanking"}, "deberta-v2", plain_query=True),
    Family(
        "XProvence",
        {"XProvence", "XProvenceForSequenceClassification", "XLMRobertaForCompressionAndRanking"},
        "xlm-roberta",
        threshold=0.3,
        one_separator=True,
    ),
    Family(
        "OpenProvence",
        {"open_provence", "OpenProvenceModel"}
        | {"OpenProvenceForSequenceClassification", "OpenProvenceForTokenClassification"},
        "modernbert",
        encoder_key="base_model_config",
        window_key="max_length",
        threshold_keys=("default_threadshold", "default_threshold"),
    ),
)


def family_of(config: Mapping[str, Any]) -> Family | None:
    """Return the family of a checkpoint's `config.json`, or None."""
    architectures, auto_map = config.get("architectures"), config.get("auto_map")
    names = [config.get("model_type"), *(architectures if isinstance(architectures, list) else ())]
    # `auto_map` names a class in a module of the checkpoint: "modeling_provence.Provence".
    names += auto_map.values() if isinstance(auto_map, dict) else ()
    classes = {name.rpartition(".")[2] for name in names if isinstance(name, str)}
    return next((family for family in FAMILIES if classes & family.classes), None)


def read_family(directory: Path) -> Family | None:
    """Return the family of a model directory; None for a secateur model or an unknown checkpoint."""
    return None if has_heads(directory) else family_of(read_encoder_config(directory))


def plain(query: str) -> str:
    """Return a query in lower case, without ASCII punctuation and with single spaces; unchanged if nothing is left.

    Examples:
        >>> plain("What goes on the bottom of Shepherd's pie?")
        'what goes on the bottom of shepherds pie'
    """
    return " ".join(query.lower().translate(_NO_PUNCTUATION).split()) or query


class FamilyEncoder(PairEncoder):
    """A `PairEncoder` with the separators and the form of queries of a family."""

    def __init__(self, tokenizer: Tokenizer, window: int, family: Family) -> None:
        super().__init__(tokenizer, window)
        self._plain_query = family.plain_query
        if family.one_separator:
            self.template = replace(self.template, middle=self.template.middle[:1])

    def encode_query(self, query: str, *, truncate: bool = False) -> tuple[list[int], bool]:
        """Return the token ids of a query in the form of the family; see `PairEncoder.encode_query`."""
        return super().encode_query(plain(query) if self._plain_query else query, truncate=truncate)
