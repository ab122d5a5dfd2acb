"""Windows' outputs become one score a unit and one a passage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from secateur.models.backends import Output
from secateur.models.batching import BatchLimits, make_batches
from secateur.models.encoding import EncodedPassage, Window
from secateur.models.merging import SCORING_VERSION, WindowOutput, merge, window_outputs
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage


def window(token_unit: list[int], head: int = 3) -> Window:
    return Window(
        ids=np.arange(head + len(token_unit) + 1, dtype=np.int32),
        passage_start=head,
        text_start=head,
        token_unit=np.asarray(token_unit, dtype=np.int32),
    )


def passage(windows: list[Window], unit_tokens: list[int], unit_source: list[int] | None = None) -> EncodedPassage:
    source = unit_source if unit_source is not None else list(range(len(unit_tokens)))
    return EncodedPassage(
        windows=tuple(windows),
        unit_tokens=np.asarray(unit_tokens, dtype=np.int32),
        unit_source=np.asarray(source, dtype=np.int32),
        title_cut=False,
    )


def output(text: list[float], relevance: float = 0.5, head: int = 3, padding: int = 2) -> WindowOutput:
    """An output whose special tokens and padding say 1.0, which must not count."""
    keep = [1.0] * head + text + [1.0] * (1 + padding)
    return WindowOutput(relevance, np.asarray(keep, dtype=np.float32))


def test_a_unit_scores_the_mean_of_its_tokens() -> None:
    scores = merge(passage([window([0, 0, 1])], [2, 1]), [output([0.2, 0.4, 0.9])])
    assert scores.units == pytest.approx([0.3, 0.9])


def test_a_unit_in_two_windows_scores_their_average() -> None:
    encoded = passage([window([0, 1, 1]), window([1, 1, 2])], [1, 2, 1])
    scores = merge(encoded, [output([0.1, 0.2, 0.4]), output([0.6, 0.8, 0.9])])
    assert scores.units == pytest.approx([0.1, 0.5, 0.9])


def test_a_unit_cut_by_windows_scores_the_mean_of_its_pieces() -> None:
    encoded = passage([window([0, 0]), window([0, 0])], [4])
    assert merge(encoded, [output([0.2, 0.4]), output([0.6, 0.8])]).units == pytest.approx([0.5])


def test_a_passage_is_as_relevant_as_its_best_window() -> None:
    encoded = passage([window([0]), window([1]), window([2])], [1, 1, 1])
    outputs = [output([0.0], relevance) for relevance in (0.2, 0.7, 0.3)]
    assert merge(encoded, outputs).relevance == pytest.approx(0.7)


def test_a_unit_without_a_token_takes_its_sources_score_or_none() -> None:
    encoded = passage([window([0, 2])], [1, 0, 1, 0], unit_source=[0, 0, 2, -1])
    assert merge(encoded, [output([0.4, 0.6])]).units == pytest.approx([0.4, 0.4, 0.6, 0.0])


def test_a_title_counts_for_no_unit() -> None:
    titled = Window(ids=np.zeros(8, np.int32), passage_start=3, text_start=6, token_unit=np.zeros(1, np.int32))
    assert merge(passage([titled], [1]), [output([0.3], head=6)]).units == pytest.approx([0.3])


def test_scores_stay_in_range() -> None:
    scores = merge(passage([window([0, 1])], [1, 1]), [output([1.0005, -0.0005], relevance=1.0005)])
    assert scores.relevance == 1.0
    assert scores.units.tolist() == [1.0, 0.0]


def test_outputs_come_back_in_the_order_of_the_windows() -> None:
    windows = [window([0] * count) for count in (3, 9, 1, 6, 9)]
    batches = make_batches(windows, BatchLimits(rows=2, tokens=100), pad_id=0, passage_type=1)
    assert [row for batch in batches for row in batch.rows] != sorted(row for batch in batches for row in batch.rows)
    outputs = []
    for batch in batches:
        keep = batch.input_ids * batch.attention_mask / 128
        outputs.append(Output((batch.rows / 8).astype(np.float32), keep.astype(np.float32)))
    for row, found in enumerate(window_outputs(batches, outputs, "staged")):
        assert found.relevance == row / 8
        assert found.keep[: len(windows[row])].tolist() == (windows[row].ids / 128).tolist()


# What a text is made into, by the version of the code that does so: caches outlive an update of the code, and would
# give the scores of other units.
SCORED = {1: "37e1fbd0e61c05b6", 2: "d7e1bc06a1926d5b"}


def test_whoever_changes_units_or_scores_raises_the_version(pruner: Pruner) -> None:
    """The digest is of units, tokens and merged scores, the network's part in which is a function of the token."""
    texts = [
        'Heading\n\nDr. Smith lives in Paris. He is 7.5 feet tall!  - one\n- two\n\n(i) three; "four." Five?',
        "東京は日本の首都です。「そうだ。」と言った。本当？ はい！",
        "word " * 700 + "end.\x0cNew page.\u2029Paragraph\r\n\r\nLast line without a stop",
        "x" * 3000,
        "",
        " \n ",
    ]
    passages = [Passage(text, title=title) for text in texts for title in (None, "A title")]
    encoded = pruner.encode(check_request("When was it finished?", passages, PruneOptions()))
    digest = hashlib.sha256()
    for units, one in zip(encoded.units, encoded.passages, strict=True):
        keeps = [(window.ids * 7919 % 1000 / 1000).astype(np.float32) for window in one.running]
        scores = merge(one, [WindowOutput(float(keep.mean()), keep) for keep in keeps])
        digest.update(repr([(unit.start, unit.end, unit.kind) for unit in units]).encode())
        digest.update(repr([window.ids.tolist() for window in one.running]).encode())
        digest.update(repr([round(float(score), 6) for score in (scores.relevance, *scores.units)]).encode())
    assert SCORED.get(SCORING_VERSION) == digest.hexdigest()[:16], (
        "what the code makes of a text has changed: raise SCORING_VERSION and put the new digest beside it"
    )
