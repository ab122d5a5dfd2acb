"""The known families: how each is recognised, and what its checkpoints were trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from secateur.models.checkpoint import (
    CONFIG,
    ModelConfig,
    check_encoder,
    check_window,
    has_heads,
    read_encoder_config,
)
from secateur.models.errors import ModelError

FamilyName = Literal["Provence", "XProvence", "OpenProvence"]

_WINDOW_STEP = 32  # of `ModelConfig.window`


@dataclass(frozen=True, slots=True)
class Family:
    """What the checkpoints of a family have in common.

    Attributes:
        name: as its authors say it.
        classes: names of the model in `architectures`, `auto_map` or `model_type`; one of them is enough.
        encoder_type: the encoder's `model_type` in transformers.
        encoder_key: where `config.json` holds the encoder's configuration; None for the top level.
        window: tokens read at once.
        window_key: where `config.json` holds another window.
        threshold: the authors' default keep threshold, in [0, 1].
        threshold_keys: where `config.json` may hold another threshold; the first one counts.
        one_separator: pairs were trained with one separator between the texts, whatever the tokenizer's template says.
        plain_query: queries were trained in lower case and without punctuation.
    """

    name: FamilyName
    classes: frozenset[str]
    encoder_type: str
    encoder_key: str | None = None
    window: int = 512
    window_key: str | None = None
    threshold: float = 0.1
    threshold_keys: tuple[str, ...] = ()
    one_separator: bool = False
    plain_query: bool = False

    def encoder_config(self, directory: Path) -> dict[str, Any]:
        """Read the encoder's own configuration.

        Raises:
            ModelError: it is missing, or of another architecture than the family's.
        """
        config = read_encoder_config(directory)
        if self.encoder_key is None:
            return config
        section = config.get(self.encoder_key)
        if not isinstance(section, dict):
            raise ModelError(
                f"{directory / CONFIG}: {self.encoder_key} is missing; without it an {self.name} checkpoint does not "
                "say what its encoder is"
            )
        if section.get("model_type") != self.encoder_type:
            raise ModelError(
                f"{directory / CONFIG}: {self.encoder_key}.model_type is {section.get('model_type')!r}; "
                f"{self.name} checkpoints can be loaded with a {self.encoder_type} encoder only"
            )
        return section

    def settings(self, directory: Path) -> ModelConfig:
        """Return the settings that a checkpoint would have had as a secateur model, named after its directory.

        Raises:
            ModelError: `config.json` holds a wrong value.
        """
        config = read_encoder_config(directory)
        window = config.get(self.window_key, self.window) if self.window_key else self.window
        thresholds = [config[key] for key in self.threshold_keys if config.get(key) is not None]
        threshold = thresholds[0] if thresholds else self.threshold
        if not isinstance(window, int) or not isinstance(threshold, int | float):
            raise ModelError(
                f"{directory / CONFIG}: the {self.name} checkpoint's window is {window!r} and its threshold "
                f"{threshold!r}; they must be numbers"
            )
        # The heads are the family's own; those of a secateur model that are named here mean nothing.
        settings = ModelConfig(
            name=directory.resolve().name,
            window=window // _WINDOW_STEP * _WINDOW_STEP,
            rank_head="linear",
            prune_head="linear",
            threshold=threshold,
        )
        section = self.encoder_config(directory) | {"model_type": self.encoder_type}
        check_window(settings, check_encoder(section, directory / CONFIG, self.encoder_key or ""), directory / CONFIG)
        return settings


# Provence: Chirkova et al., ICLR 2025, arXiv 2501.16214. Layout, [CLS] query [SEP] passage [SEP] and 512 tokens:
# github.com/naver/bergen, scripts/provence/{modeling,train}_provence.py. Its published `process` lowers queries and
# takes out punctuation (MS MARCO's look so), and its threshold is 0.1; it thresholds tokens and then the share of kept
# tokens of a sentence, where `merge` takes the mean probability.
_PROVENCE = Family(
    name="Provence",
    classes=frozenset({"Provence", "DebertaV2ForCompressionAndRanking"}),
    encoder_type="deberta-v2",
    plain_query=True,
)

# XProvence: arXiv 2601.18886. github.com/naver/bergen, scripts/xprovence/{modeling,train}_xprovence.py: trained on
# <s> query </s> passage </s> of 512 tokens, though its tokenizer's template has two separators. 0.3 is what its model
# card advises.
_XPROVENCE = Family(
    name="XProvence",
    classes=frozenset({"XProvence", "XProvenceForSequenceClassification", "XLMRobertaForCompressionAndRanking"}),
    encoder_type="xlm-roberta",
    threshold=0.3,
    one_separator=True,
)

# github.com/hotchpotch/open_provence, open_provence/{encoder,modeling_open_provence_standalone}.py; `threadshold` is
# how they spell it.
_OPEN_PROVENCE = Family(
    name="OpenProvence",
    classes=frozenset(
        {
            "open_provence",
            "OpenProvenceModel",
            "OpenProvenceForSequenceClassification",
            "OpenProvenceForTokenClassification",
        }
    ),
    encoder_type="modernbert",
    encoder_key="base_model_config",
    window_key="max_length",
    threshold_keys=("default_threadshold", "default_threshold"),
)

FAMILIES = (_PROVENCE, _XPROVENCE, _OPEN_PROVENCE)


def _class_names(config: Mapping[str, Any]) -> set[str]:
    architectures, auto_map = config.get("architectures"), config.get("auto_map")
    names = [config.get("model_type"), *(architectures if isinstance(architectures, list) else ())]
    # `auto_map` points into a module of the checkpoint: "modeling_provence.Provence".
    names += auto_map.values() if isinstance(auto_map, dict) else ()
    return {name.rpartition(".")[2] for name in names if isinstance(name, str)}


def family_of(config: Mapping[str, Any]) -> Family | None:
    """Return the family that a checkpoint's `config.json` names, or None."""
    names = _class_names(config)
    return next((family for family in FAMILIES if names & family.classes), None)


def read_family(directory: Path) -> Family | None:
    """Return the family of a model directory; None for a secateur model and for anything unknown.

    Raises:
        ModelError: `config.json` is missing or broken.
    """
    return None if has_heads(directory) else family_of(read_encoder_config(directory))
