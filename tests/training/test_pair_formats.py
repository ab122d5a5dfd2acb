"""A pair of any format has the same tokens in training as in the finished model."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.encoding import PairEncoder
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage
from secateur.training.config import DataConfig
from secateur.training.losses import IGNORED
from secateur.training.pairs import GroupBuilder, LabelledUnits, labelled_units, without_answers
from secateur.training.sampling import SampledQuery
from secateur.training.scoring import score_examples

MARKDOWN = "# Race\n\n| name | place |\n| --- | --- |\n| **Anna** | 1 |\n| Bob | [2](http://x.y) |\n\nIt rained.\n"
HTML = "<h1>Race</h1>\n<ul class='x'><li>Anna <b>won</b>.</li><li>It rained.</li></ul><script>var a;</script>"
TEXTS = {"markdown": MARKDOWN, "html": HTML, "lines": "name,place\nAnna,1\nBob,2\n", "text": "Anna won. It rained."}


def passage(name: str, answer: str = "Anna", *, format: str | None = None) -> LabelledPassage:
    text = TEXTS[name]
    start = text.index(answer)
    return LabelledPassage(Passage(text, title="Sports", format=format or name), ((start, start + len(answer)),), True)


def segmented(name: str, answer: str = "Anna", *, format: str | None = None) -> LabelledUnits:
    found = labelled_units(passage(name, answer, format=format), get_segmenter())
    assert found is not None
    return found


def visible(units: LabelledUnits) -> list[str]:
    """The readable words of each unit, by its hidden spans."""
    found = []
    for unit in units.units:
        hidden = {place for start, end in unit.hidden for place in range(start, end)}
        read = (" " if place in hidden else units.passage.text[place] for place in range(unit.start, unit.end))
        found.append(" ".join("".join(read).split()))
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_training_reads_what_the_pruner_reads(name: str, tokenizer: Tokenizer, pruner: Pruner) -> None:
    config = DataConfig(train=Path(), recut_share=0.0, shuffle_share=0.0, title_share=1.0)
    builder = GroupBuilder(PairEncoder(tokenizer, pruner.config.window), get_segmenter(), config, 0)
    labelled = passage(name)
    (pair,) = builder.build(0, SampledQuery("Who won?", (labelled,)))
    encoded = pruner.encode(check_request("Who won?", [labelled.passage], PruneOptions()))
    ((window,),) = (one.windows for one in encoded.passages)
    assert pair.input_ids.tolist() == window.ids.tolist()
    labelled_tokens = pair.labels != IGNORED
    assert pair.units[labelled_tokens].tolist() == (window.token_unit - window.token_unit[0]).tolist()


def test_only_what_can_be_read_has_tokens(tokenizer: Tokenizer) -> None:
    config = DataConfig(train=Path(), recut_share=0.0, shuffle_share=0.0, title_share=0.0)
    builder = GroupBuilder(PairEncoder(tokenizer, 128), get_segmenter(), config, 0)
    (pair,) = builder.build(0, SampledQuery("Who won?", (passage("html"),)))
    words = [str(tokenizer.id_to_token(int(i))) for i in pair.input_ids[pair.labels != IGNORED]]
    assert words == ["race", "anna", "won", ".", "it", "rained", "."]


def test_units_that_are_taken_keep_kind_needs_and_what_is_hidden() -> None:
    units = segmented("markdown")
    assert [unit.kind for unit in units.units] == ["heading", "table_header", "table_row", "table_row", "sentence"]
    taken = units.take([4, 3, 1])
    assert [unit.kind for unit in taken.units] == ["sentence", "table_row", "table_header"]
    assert visible(taken) == ["It rained.", visible(units)[3], visible(units)[1]]
    assert taken.units[1].needs == (2,)  # the header; the heading is gone
    assert [unit.start for unit in taken.units] == [0, *(unit.end for unit in taken.units[:-1])]


@pytest.mark.parametrize("name", ["markdown", "html"])
def test_shuffled_units_read_as_before(name: str, tokenizer: Tokenizer) -> None:
    units = segmented(name)
    order = list(reversed(range(len(units.units))))
    shuffled = units.take(order)
    assert visible(shuffled) == [visible(units)[place] for place in order]
    encoder = PairEncoder(tokenizer, 128)
    encoded = [encoder.encode([], [one.passage], [one.units])[0] for one in (units, shuffled)]
    tokens = [sorted(one.windows[0].ids.tolist()) for one in encoded]
    assert tokens[0] == tokens[1]


def test_the_format_that_was_found_stays() -> None:
    units = segmented("markdown", format="auto")
    assert units.passage.format == "markdown"
    assert units.take([4]).passage.format == "markdown"


def test_a_passage_of_which_only_markup_would_be_left_is_not_learned_from() -> None:
    text = "<p>Anna won.</p>"
    units = labelled_units(LabelledPassage(Passage(text, format="html"), ((3, 7),), True), get_segmenter())
    assert units is not None
    assert without_answers(units) is None
    script = Passage("<script>var a;</script>", format="html")
    assert labelled_units(LabelledPassage(script, (), False), get_segmenter()) is None


def test_recut_passages_hold_a_unit_that_can_be_read(tokenizer: Tokenizer) -> None:
    config = DataConfig(train=Path(), recut_share=1.0, recut_max_units=1, shuffle_share=0.0)
    for seed in range(20):
        builder = GroupBuilder(PairEncoder(tokenizer, 128), get_segmenter(), config, seed)
        ((changed),) = builder.change(0, SampledQuery("Who won?", (passage("html"),)))
        assert visible(changed)[0] == "Anna won ."


def test_markup_has_no_score_in_calibration(pruner: Pruner) -> None:
    example = Example("1", "toy", "Who won?", (passage("html"),))
    ((scored,),) = score_examples(pruner, [example])
    assert scored.gold.tolist() == [False, True, False]
    assert len(scored.scores) == 3
