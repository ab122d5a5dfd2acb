"""Validation during training: how well units and passages are ranked on examples that are not trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from secateur.labelled.examples import Example
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.network import PruningNetwork
from secateur.models.segmenters import get_segmenter
from secateur.training.batches import pack
from secateur.training.config import DataConfig, TrainConfig
from secateur.training.losses import unit_means
from secateur.training.pairs import Group, GroupBuilder
from secateur.training.sampling import SampledQuery, read_sources

_PAIRS = 32  # fewest pairs of a batch


def _evenly(sources: dict[str, list[Example]], count: int) -> list[Example]:
    """Return up to ``count`` examples, evenly from all sources; always the same ones."""
    rng = random.Random(0)
    shuffled = [rng.sample(examples, len(examples)) for examples in sources.values()]
    return [example for row in zip_longest(*shuffled) for example in row if example is not None][:count]


def validation_groups(config: TrainConfig, encoder: PairEncoder) -> list[Group]:
    """Encode validation queries with all their passages, unchanged.

    Raises:
        DataError: None of the queries has an answer.
    """
    if config.data.validation is None:
        return []
    titles = float(config.data.title_share > 0)  # a model is judged with titles if it is trained with them
    data, exclude = config.data.validation, config.data.exclude
    plain = DataConfig(train=data, exclude=exclude, recut_share=0.0, shuffle_share=0.0, title_share=titles)
    examples = _evenly(read_sources(plain), config.stop.queries)
    builder = GroupBuilder(encoder, get_segmenter(config.segmenter), plain, config.seed)
    groups = [builder.build(number, SampledQuery(e.query, e.passages)) for number, e in enumerate(examples)]
    groups = [group for group in groups if group]
    if not any(pair.relevant for group in groups for pair in group):
        raise DataError(f"data.validation: no passage of {data} answers its query; add queries with an answer")
    return groups


def _reciprocal_ranks(relevance: Tensor, relevant: Tensor, groups: Tensor) -> list[float]:
    """Return the reciprocal rank of the best relevant passage of each query that has others as well."""
    ranks = []
    for group in range(int(groups.max()) + 1):
        scores, wanted = relevance[groups == group], relevant[groups == group] > 0
        if wanted.any() and not wanted.all():
            ranks.append(1 / (1 + int((scores[~wanted] >= scores[wanted].max()).sum())))
    return ranks


def validate(
    network: PruningNetwork, groups: Sequence[Group], collate: Callable[[list[Group]], dict[str, Tensor]]
) -> dict[str, float]:
    """Measure a network on `validation_groups`, which are padded by ``collate``; it is left in its mode.

    Returns:
        ``unit_ap``, the average precision of answering units, ranked by mean keep probability over all passages, and
        ``mrr``, the mean reciprocal rank of the first relevant passage of a query; nan without a query to rank.
    """
    from sklearn.metrics import average_precision_score

    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    scores: list[Tensor] = []
    gold: list[Tensor] = []
    ranks: list[float] = []
    by_length = sorted(groups, key=lambda group: -max(map(len, group)))
    with torch.inference_mode():
        for batch_groups in pack(by_length, len, _PAIRS):
            batch = collate(batch_groups)
            inputs = {k: batch[k].to(device) for k in ("input_ids", "attention_mask", "token_type_ids", "unit_ids")}
            relevance, keep = (output.float().cpu() for output in network(**inputs))
            unit_scores, unit_labels = unit_means(keep, batch["labels"], batch["units"])
            scores.append(unit_scores)
            gold.append(unit_labels > 0.5)
            ranks += _reciprocal_ranks(relevance, batch["relevant"], batch["groups"])
    network.train(was_training)
    unit_ap = float(average_precision_score(torch.cat(gold).numpy(), torch.cat(scores).numpy()))
    return {"unit_ap": unit_ap, "mrr": float(np.mean(ranks)) if ranks else np.nan}
