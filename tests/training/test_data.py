from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from secateur.models.checkpoint import load_tokenizer, resolve
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError
from secateur.models.examples import Example, LabelledPassage, read_examples
from secateur.models.segmentation import segment
from secateur.models.splitters import get_splitter
from secateur.models.types import Passage
from secateur.training.config import DataConfig
from secateur.training.data import IGNORED, PairBuilder, build_pairs, draw_counts, draw_pairs, recut

TEXT = "Rome is old. Anna won the race. It rained all day. The crowd went home."
ANSWER = (TEXT.index("Anna"), TEXT.index("race.") + 5)


def example(name: str, spans: bool = True) -> Example:
    positive = LabelledPassage(Passage(TEXT, title="Races"), (ANSWER,) if spans else (), spans)
    negative = LabelledPassage(Passage(f"Nothing of the kind {name}. Cats sleep."), (), False)
    return Example(name, "toy", f"Who won {name}?", (positive, negative))


def row(name: str) -> dict[str, object]:
    passages = [
        {"id": "p", "title": "Races", "text": TEXT, "relevant_spans": [list(ANSWER)], "relevant": True},
        {"id": "n", "title": "", "text": "Cats sleep. Dogs bark.", "relevant_spans": [], "relevant": False},
    ]
    return {"id": name, "source": "toy", "query": f"Who won {name}?", "passages": passages}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for source, size in (("large", 40), ("small", 5)):
        lines = [json.dumps(row(f"{source}{i}")) for i in range(size)]
        (tmp_path / f"{source}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(resolve(None))


def builder(tokenizer: Tokenizer, config: DataConfig, window: int = 128) -> PairBuilder:
    return PairBuilder(PairEncoder(tokenizer, window), get_splitter(), config, random.Random(0))


def plain(tmp_path: Path, **changes: float) -> DataConfig:
    return DataConfig(train=tmp_path, **({"recut_share": 0.0, "title_share": 0.0} | changes))  # type: ignore[arg-type]


def test_tokens_are_labelled_by_their_unit(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pair = builder(tokenizer, plain(tmp_path)).build("Who won?", example("x").passages[0])
    assert pair is not None
    assert pair.relevant
    kept = [tokenizer.id_to_token(int(i)) for i in pair.input_ids[pair.labels == 1]]
    assert kept == ["anna", "won", "the", "race", "."]
    assert set(pair.units[pair.labels == 1].tolist()) == {1}
    assert set(pair.units[pair.labels == 0].tolist()) == {0, 2, 3}


def test_query_title_and_special_tokens_are_ignored(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pair = builder(tokenizer, plain(tmp_path, title_share=1.0)).build("Who won?", example("x").passages[0])
    assert pair is not None
    ignored = [tokenizer.id_to_token(int(i)) for i in pair.input_ids[pair.labels == IGNORED]]
    assert ignored == ["[CLS]", "who", "won", "?", "[SEP]", "races", ":", "[SEP]"]


def test_a_long_passage_gives_a_window_that_holds_the_answer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    text = "Filler words come here. " * 60 + TEXT
    start = text.index("Anna")
    labelled = LabelledPassage(Passage(text), ((start, start + 18),), True)
    pair = builder(tokenizer, plain(tmp_path), window=64).build("Who won?", labelled)
    assert pair is not None
    assert len(pair.input_ids) <= 64
    assert (pair.labels == 1).any()


def test_labels_that_match_no_unit_are_left_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert builder(tokenizer, plain(tmp_path)).build("Who?", LabelledPassage(Passage(TEXT), (), True)) is None
    assert builder(tokenizer, plain(tmp_path)).build("Who?", LabelledPassage(Passage(""), (), False)) is None


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 1000))
def test_a_recut_run_holds_every_relevant_unit(labels: list[bool], seed: int) -> None:
    units = segment("A b. " * 12)[:1] * len(labels)
    run = recut(units, labels, random.Random(seed))
    assert 0 <= run.start < run.stop <= len(labels)
    assert all(i in run for i, label in enumerate(labels) if label)


def test_small_sources_are_drawn_more_than_their_size() -> None:
    counts = draw_counts({"large": 10_000, "small": 100}, 1000, 0.5)
    assert counts == {"large": 909, "small": 91}


def test_each_positive_brings_a_hard_negative_and_some_random_ones(tmp_path: Path) -> None:
    sources = {"toy": [example(str(i)) for i in range(200)]}
    drawn = draw_pairs(sources, plain(tmp_path, pairs=400, random_negative_share=0.2), random.Random(1))
    own = {e.query: {p.passage.text for p in e.passages} for e in sources["toy"]}
    random_negatives = [p for query, p in drawn if p.passage.text not in own[query]]
    positives = [p for _, p in drawn if p.relevant]
    assert len(drawn) == 400
    assert 0.15 < len(random_negatives) / len(drawn) < 0.25
    assert all(not p.relevant and not p.spans for p in random_negatives)
    assert abs(len(positives) - 160) <= 2


def test_the_same_seed_gives_the_same_pairs(toy: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=toy, pairs=40)
    runs = [build_pairs(config, PairEncoder(tokenizer, 128), get_splitter(), seed)[0] for seed in (3, 3, 4)]
    ids = [[pair.input_ids.tolist() for pair in pairs] for pairs in runs]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_excluded_sources_are_not_read(toy: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=toy, pairs=10, exclude=("large",))
    _, sources = build_pairs(config, PairEncoder(tokenizer, 128), get_splitter(), 0)
    assert sources == {"small": 5}
    with pytest.raises(DataError, match="no labelled example"):
        build_pairs(DataConfig(train=toy, exclude=("large", "small")), PairEncoder(tokenizer, 128), get_splitter(), 0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ('{"query": "q"}', "passages"),
        ('{"query": "q", "passages": [{"text": "ab", "relevant_spans": [[0, 9]]}]}', "outside the text"),
        ('{"query": "q", "passages": [{"title": "t"}]}', "text"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(row("fine")) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(read_examples(path))


@pytest.mark.shared
def test_the_shared_training_data_can_be_labelled(shared_data: Path, tokenizer: Tokenizer) -> None:
    config = DataConfig(train=shared_data / "dev", pairs=300)
    pairs, sources = build_pairs(config, PairEncoder(tokenizer, 320), get_splitter(), 0)
    assert len(sources) == 13
    assert len(pairs) > 290
    assert 0.3 < np.mean([pair.relevant for pair in pairs]) < 0.6
