"""Validation during training: how well units and passages are told apart on examples that are not trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from secateur.labelled.examples import Example
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.network import PruningNetwork
from secateur.models.segmenters import get_segmenter
from secateur.training.config import DataConfig, TrainConfig
from secateur.training.drawing import Drawn, read_sources
from secateur.training.losses import IGNORED
from secateur.training.pairs import Group, GroupBuilder

_PAIRS = 32  # pairs of a batch, at least


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures on validation examples.

    Attributes:
        unit_ap: average precision of answering units, ranked by mean keep probability over all passages, in [0, 1].
        mrr: mean reciprocal rank of the first relevant passage among its query's; nan without a query to rank.
    """

    unit_ap: float
    mrr: float


def _evenly(sources: dict[str, list[Example]], count: int) -> list[Example]:
    """Take up to ``count`` examples, as many from each source as there are, always the same ones."""
    rng = random.Random(0)
    shuffled = [rng.sample(examples, len(examples)) for examples in sources.values()]
    rows = [[examples[i] for examples in shuffled if i < len(examples)] for i in range(max(map(len, shuffled)))]
    return [example for row in rows for example in row][:count]


def validation_groups(config: TrainConfig, encoder: PairEncoder) -> list[Group]:
    """Encode validation queries with all their passages as they are.

    Raises:
        DataError: none of them has an answer.
    """
    if config.data.validation is None:
        return []
    titles = float(config.data.title_share > 0)  # what the model learns to read, it is judged with
    plain = DataConfig(train=config.data.validation, recut_share=0.0, shuffle_share=0.0, title_share=titles)
    examples = _evenly(read_sources(replace(plain, exclude=config.data.exclude)), config.stop.queries)
    builder = GroupBuilder(encoder, get_segmenter(config.segmenter), plain, config.seed)
    groups = [builder.build(number, Drawn(e.query, e.passages)) for number, e in enumerate(examples)]
    groups = [group for group in groups if group]
    if not any(pair.relevant for group in groups for pair in group):
        raise DataError(f"data.validation: no passage of {plain.train} answers its query; nothing can be judged")
    return groups


def average_precision(scores: np.ndarray, gold: np.ndarray) -> float:
    """Return the area under the precision-recall curve, as the mean precision at each answering unit."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(gold, scores))


def _unit_means(keep: Tensor, labels: Tensor, units: Tensor) -> tuple[list[float], list[bool]]:
    """Return the mean keep probability and the label of each unit of one window."""
    known = labels != IGNORED
    width = int(units.max()) + 1
    ones = torch.ones_like(keep[known])
    counts, kept, gold = (
        torch.zeros(width).index_add(0, units[known], values) for values in (ones, keep[known], labels[known])
    )
    present = counts > 0
    return (kept[present] / counts[present]).tolist(), (gold[present] > 0.5 * counts[present]).tolist()


def validate(
    network: PruningNetwork, groups: Sequence[Group], collate: Callable[[Sequence[Group]], dict[str, Tensor]]
) -> Validation:
    """Measure a network.

    Args:
        network: which is left in the mode that it was in.
        groups: see `validation_groups`.
        collate: pads groups.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    scores: list[float] = []
    gold: list[bool] = []
    ranks: list[float] = []
    order = sorted(range(len(groups)), key=lambda i: -max(map(len, groups[i])))
    with torch.inference_mode():
        start = 0
        while start < len(order):
            stop = start
            pairs = 0
            while stop < len(order) and pairs < _PAIRS:
                pairs += len(groups[order[stop]])
                stop += 1
            batch = collate([groups[i] for i in order[start:stop]])
            inputs = {k: batch[k].to(device) for k in ("input_ids", "attention_mask", "token_type_ids", "unit_ids")}
            relevance, keep = (output.float().cpu() for output in network(**inputs))
            for row in range(len(keep)):
                found = _unit_means(keep[row].sigmoid(), batch["labels"][row], batch["units"][row])
                scores += found[0]
                gold += found[1]
            for group in range(int(batch["groups"].max()) + 1):
                inside = batch["groups"] == group
                wanted = batch["relevant"][inside] > 0
                if wanted.any() and not wanted.all():
                    best = relevance[inside][wanted].max()
                    ranks.append(1 / (1 + int((relevance[inside][~wanted] >= best).sum())))
            start = stop
    network.train(was_training)
    return Validation(average_precision(np.array(scores), np.array(gold)), float(np.mean(ranks)) if ranks else np.nan)
