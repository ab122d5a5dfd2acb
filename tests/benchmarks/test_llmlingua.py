"""LLMLingua-2 scores units by their tokens' keep probabilities, whatever the query."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import XLMRobertaConfig, XLMRobertaForTokenClassification

from benchmarks.contestants.llmlingua import LlmLingua2
from benchmarks.quality import QualityOptions, measure_quality
from secateur.eval.systems.base import SegmentedPassage
from secateur.models.errors import ModelError
from secateur.models.segmentation import segment
from secateur.models.types import Passage

TEXTS = [
    "The Eiffel Tower was built by the company of Gustave Eiffel. Locals call it the iron lady.",
    "People first landed on the Moon in 1969.  Plants take in carbon dioxide.\n\nThey give off oxygen. No.",
]
LONG = " ".join(TEXTS * 20)


def passage(text: str, title: str | None = None) -> SegmentedPassage:
    return SegmentedPassage.of(Passage(text, title=title), segment(Passage(text)))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random XLM-RoBERTa token classifier, as transformers writes it."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("llmlingua") / "tiny"
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    config = XLMRobertaConfig(  # type: ignore[call-arg]  # num_labels is not in its signature
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        num_labels=2,
    )
    model = XLMRobertaForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture(scope="module")
def system(directory: Path) -> LlmLingua2:
    return LlmLingua2(directory, "cpu")


def test_a_unit_scores_the_mean_of_its_tokens(directory: Path, system: LlmLingua2) -> None:
    model = XLMRobertaForTokenClassification.from_pretrained(directory).eval()
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([encoding.ids])).logits[0]
        keep = logits.softmax(-1)[:, 1].numpy()
        one = passage(text)
        expected, begin = [], 0
        for unit in one.units:
            end = unit.start + len(text[unit.start : unit.end].rstrip())
            # The space before a unit is the unit's.
            inside = [begin <= start < end for start, _ in encoding.offsets]
            inside[0] = inside[-1] = False  # <s> and </s> have the offsets (0, 0)
            expected.append(keep[inside].mean())
            begin = end
        (scores,) = system.score_units("who?", [one])
        assert scores.units == pytest.approx(np.asarray(expected), abs=1e-5)
        assert scores.units.std() > 1e-3


def test_it_knows_no_query_no_title_and_ranks_nothing(system: LlmLingua2) -> None:
    passages = [passage(text) for text in (*TEXTS, LONG, "")]
    first = system.score_units("Who built it?", passages)
    titled = [SegmentedPassage.of(Passage(p.passage.text, title="T"), p.tiling) for p in passages]
    second = system.score_units("", titled)
    for one, other in zip(first, second, strict=True):
        assert one.units == pytest.approx(other.units)
        assert math.isnan(one.relevance)
        assert math.isnan(other.relevance)
    assert [len(scores.units) for scores in first] == [len(p.units) for p in passages]


def test_a_passage_scores_the_same_alone_and_in_company(system: LlmLingua2) -> None:
    passages = [passage(text) for text in (LONG, *TEXTS)]
    together = system.score_units("q", passages)
    for one, found in zip(passages, together, strict=True):
        assert system.score_units("q", [one])[0].units == pytest.approx(found.units, abs=1e-4)


def test_a_passage_longer_than_a_window_is_scored_to_its_end(system: LlmLingua2) -> None:
    (scores,) = system.score_units("q", [passage(LONG)])
    assert np.all(scores.units > 0)
    assert np.all(scores.units < 1)


def test_it_says_what_it_is(directory: Path, system: LlmLingua2) -> None:
    assert (system.name, system.threshold) == ("llmlingua-2", None)
    assert system.about["weights"].startswith("tiny, ")
    assert system.about["backend"] == "torch cpu"


def test_it_is_compared_with_the_baselines(directory: Path, tmp_path: Path) -> None:
    passages = [{"text": TEXTS[0], "relevant_spans": [[0, 30]]}, {"text": TEXTS[1]}]
    rows = [json.dumps({"id": str(n), "query": "Who built it?", "passages": passages}) for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    table = measure_quality(tmp_path, QualityOptions(("lead", f"llmlingua-2:{directory}")))
    assert [row[0] for row in table.rows] == ["lead", "llmlingua-2"]


def copy_without(directory: Path, target: Path, *lost: str) -> Path:
    target.mkdir()
    for file in directory.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    weights = load_file(target / "model.safetensors")
    save_file(
        {key: weight for key, weight in weights.items() if key not in lost},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    return target


def test_a_missing_head_is_named(directory: Path, tmp_path: Path) -> None:
    broken = copy_without(directory, tmp_path / "broken", "classifier.weight", "classifier.bias")
    with pytest.raises(ModelError, match=r"broken: weights are missing: classifier\.bias, classifier\.weight"):
        LlmLingua2(broken, "cpu")


def test_other_labels_are_refused(directory: Path, tmp_path: Path) -> None:
    broken = copy_without(directory, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    config |= {"id2label": {str(i): str(i) for i in range(3)}, "label2id": {str(i): i for i in range(3)}}
    (broken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(broken / "model.safetensors")
    weights |= {"classifier.weight": torch.zeros(3, 32), "classifier.bias": torch.zeros(3)}
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="has 3 labels"):
        LlmLingua2(broken, "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "cannot load it as a token classifier"),
        ("config.json", r"config\.json is missing"),
        ("tokenizer.json", r"tokenizer\.json is missing"),
    ],
)
def test_a_missing_file_is_named(directory: Path, tmp_path: Path, name: str, message: str) -> None:
    broken = copy_without(directory, tmp_path / "broken")
    (broken / name).unlink()
    with pytest.raises(ModelError, match=message):
        LlmLingua2(broken, "cpu")
