"""Published checkpoints load from their own layouts and score as transformers does; what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from secateur.models.backends.torch import TorchBackend
from secateur.models.batching import Batch
from secateur.models.checkpoint import CONFIG, TOKENIZER, WEIGHTS, load_tokenizer
from secateur.models.encoding import PairTemplate
from secateur.models.errors import InputError, ModelError
from secateur.models.families.known import FAMILIES, FamilyEncoder, family_of, plain, read_family
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.sums import write_sums
from secateur.models.types import Passage, PruneRequest, PruneResult

NAMES = ["Provence", "XProvence", "OpenProvence"]
LAYOUTS = [*NAMES, "OpenProvence, mean pooling", "OpenProvence, legacy"]
PARAGRAPHS = [
    "The Eiffel Tower was built by the company of Gustave Eiffel. Locals call it the iron lady.  It is tall.\n\nNo.",
    "# Moon\n\nPeople first landed in 1969.\n- Plants take in carbon dioxide.\n- They give off oxygen.",
    "東京は日本の首都です。 👩\u200d🍳 No.",
    " ".join(["Locals call it the iron lady. When did people first land on the moon?"] * 12),
]
OPTIONS = PruneOptions(return_units=True, reorder=False)
REQUESTS = [
    PruneRequest(query, (Passage(text, title=title),), OPTIONS)
    for query, title in (("Who built the Eiffel Tower?", None), ("When did people first land?", "The Moon"))
    for text in PARAGRAPHS
] * 2


def scores(result: PruneResult) -> list[float]:
    return [score for passage in result.results for score in (passage.score, *(u.score for u in passage.units or ()))]


def edit_config(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    change(config)
    (directory / CONFIG).write_text(json.dumps(config), encoding="utf-8")


@pytest.fixture(scope="module")
def pruners(checkpoints: dict[str, Any]) -> dict[str, Pruner]:
    return {name: Pruner.load(checkpoints[name].directory, device="cpu") for name in LAYOUTS}


@pytest.fixture
def copy_of(checkpoints: dict[str, Any], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a checkpoint, so that a test may break it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(checkpoints[name].directory, tmp_path / "copy"))

    return copy


@pytest.mark.parametrize("name", LAYOUTS)
def test_logits_are_those_of_transformers(checkpoints: dict[str, Any], name: str) -> None:
    checkpoint = checkpoints[name]
    generator = np.random.default_rng(0)
    vocabulary = load_tokenizer(checkpoint.directory).get_vocab_size()
    ids = generator.integers(3, vocabulary, size=(3, 40))
    mask = np.ones_like(ids)
    mask[1, 25:] = 0
    mask[2, 7:] = 0
    ids[mask == 0] = 1
    output = TorchBackend(checkpoint.directory, "cpu").run(
        Batch(np.arange(3), ids, mask, np.zeros_like(ids), np.zeros_like(ids))
    )
    with torch.no_grad():
        relevance, labels = checkpoint.reference(torch.from_numpy(ids), torch.from_numpy(mask))
    attended = mask.astype(bool)
    assert output.relevance == pytest.approx(relevance.sigmoid().numpy(), abs=1e-5)
    assert output.keep[attended] == pytest.approx(labels.softmax(-1)[..., 1].numpy()[attended], abs=1e-5)
    assert output.keep[attended].std() > 0.01
    assert output.relevance.std() > 1e-3


def test_weights_of_half_precision_are_run_in_fp32(checkpoints: dict[str, Any], copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("OpenProvence")
    weights = {name: weight.bfloat16() for name, weight in load_file(directory / WEIGHTS).items()}
    save_file(weights, directory / WEIGHTS)
    found = scores(Pruner.load(directory, device="cpu").prune_many(REQUESTS[:1])[0])
    exact = scores(Pruner.load(checkpoints["OpenProvence"].directory, device="cpu").prune_many(REQUESTS[:1])[0])
    assert found == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_prunes_and_reranks(pruners: dict[str, Pruner], name: str) -> None:
    result = pruners[name].prune("Who built the Eiffel Tower?", PARAGRAPHS, return_units=True, threshold=0.5)
    assert sorted(passage.index for passage in result.results) == list(range(len(PARAGRAPHS)))
    for passage in result.results:
        text = PARAGRAPHS[passage.index]
        units = passage.units or ()
        assert [units[0].start, *(unit.end for unit in units)] == [*(unit.start for unit in units), len(text)]
        assert all(text[start:end] in passage.text for start, end in passage.spans)
    found = scores(result)
    assert all(0 <= score <= 1 for score in found)
    assert np.std(found) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_pair_scores_the_same_alone_and_among_sixteen(pruners: dict[str, Pruner], name: str) -> None:
    assert len(REQUESTS) == 16
    together = [scores(result) for result in pruners[name].prune_many(REQUESTS)]
    for request, found in zip(REQUESTS, together, strict=True):
        assert scores(pruners[name].prune_many([request])[0]) == pytest.approx(found, abs=1e-4, rel=0)


def test_what_a_checkpoint_was_trained_with_is_taken_over(pruners: dict[str, Pruner]) -> None:
    told = {name: (pruners[name].config.window, pruners[name].config.threshold) for name in NAMES}
    assert told == {"Provence": (512, 0.1), "XProvence": (512, 0.3), "OpenProvence": (224, 0.05)}
    assert [pruners[name].config.name for name in NAMES] == ["provence", "xprovence", "open-provence"]
    assert [pruners[name].backend.name for name in NAMES] == ["torch"] * 3


def test_pairs_are_written_as_in_training(pruners: dict[str, Pruner]) -> None:
    templates = {name: pruners[name].encoder.template for name in NAMES}
    assert templates["Provence"] == templates["OpenProvence"] == PairTemplate((0,), (2,), (2,), 1)
    assert templates["XProvence"] == PairTemplate((0,), (2,), (2,), 0)
    ids = {name: pruners[name].encoder.encode_query("Land, ON Moon?")[0] for name in NAMES}
    plain_ids = {name: pruners[name].encoder.encode_query("land on moon")[0] for name in NAMES}
    assert {name: ids[name] == plain_ids[name] for name in NAMES} == {
        "Provence": True,
        "XProvence": False,
        "OpenProvence": False,
    }


def test_a_family_of_one_separator_has_room_for_a_longer_query(checkpoints: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(checkpoints["XProvence"].directory)
    one = FAMILIES[1]
    two = replace(one, one_separator=False)
    assert [FamilyEncoder(tokenizer, 64, family).max_query_tokens for family in (one, two)] == [29, 28]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("Who's  there?", "whos there"), ("  A-B c.d ", "ab cd"), ("?!", "?!"), ("", ""), ("東京は？", "東京は？")],
)
def test_a_plain_query(query: str, expected: str) -> None:
    assert plain(query) == expected


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"architectures": ["Provence"], "model_type": "deberta-v2"}, "Provence"),
        ({"model_type": "Provence"}, "Provence"),
        ({"architectures": ["DebertaV2ForCompressionAndRanking"]}, "Provence"),
        ({"architectures": ["XLMRobertaForCompressionAndRanking"]}, "XProvence"),
        ({"auto_map": {"AutoModel": "org/name--modeling_xprovence_hf.XProvence"}}, "XProvence"),
        ({"model_type": "open_provence", "architectures": None, "auto_map": []}, "OpenProvence"),
        ({"architectures": ["DebertaV2ForSequenceClassification"], "model_type": "deberta-v2"}, None),
        ({"architectures": "Provence", "model_type": ["Provence"], "auto_map": {"AutoModel": None}}, None),
        ({}, None),
    ],
)
def test_a_family_is_recognised(config: dict[str, Any], name: str | None) -> None:
    family = family_of(config)
    assert (family and family.name) == name


def test_a_model_trained_from_a_checkpoint_is_ours(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("Provence")
    edit_config(directory, lambda config: config.update(secateur={"name": "mine"}))
    assert read_family(directory) is None


def test_a_bare_encoder_is_still_refused(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("Provence")
    edit_config(directory, lambda config: config.update(architectures=["X"], model_type="deberta-v2", auto_map=None))
    with pytest.raises(ModelError, match="has no `secateur` section"):
        Pruner.load(directory)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("Provence", ["token_classifier.bias", "token_classifier.weight"]),
        ("Provence", ["pooler.dense.weight"]),
        ("XProvence", ["classifier.bias", "classifier.weight"]),
        ("XProvence", ["roberta.pooler.dense.bias"]),
        ("OpenProvence", ["pruning_head.classifier.bias", "pruning_head.classifier.weight"]),
        ("OpenProvence", ["ranking_model.classifier.weight"]),
    ],
)
def test_a_missing_head_is_named(copy_of: Callable[[str], Path], name: str, lost: list[str]) -> None:
    directory = copy_of(name)
    weights = load_file(directory / WEIGHTS)
    save_file({key: weight for key, weight in weights.items() if key not in lost}, directory / WEIGHTS)
    with pytest.raises(ModelError) as error:
        Pruner.load(directory)
    assert str(error.value) == f"{directory / WEIGHTS} does not have the weights of {name}: missing: {', '.join(lost)}"


def test_weights_of_another_model_are_named(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("Provence")
    weights = load_file(directory / WEIGHTS)
    weights["lm_head.bias"] = torch.zeros(3)
    weights["classifier.weight"] = torch.zeros(2, 32)
    save_file(weights, directory / WEIGHTS)
    with pytest.raises(ModelError, match=r"unknown: lm_head\.bias; of another shape: classifier\.weight$"):
        Pruner.load(directory)


def test_a_checkpoint_of_many_wrong_weights_names_a_few(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("XProvence")
    save_file({"classifier.weight": torch.zeros(1, 32)}, directory / WEIGHTS)
    with pytest.raises(ModelError, match=r"missing: classifier\.bias, token_classifier\.bias, .* and \d\d more$"):
        Pruner.load(directory)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, WEIGHTS])
def test_a_missing_file_is_named(copy_of: Callable[[str], Path], name: str) -> None:
    directory = copy_of("OpenProvence")
    (directory / name).unlink()
    with pytest.raises(ModelError, match=rf"copy: {name} is missing"):
        Pruner.load(directory)


def test_a_checkpoint_of_others_needs_no_sums_but_is_held_to_those_that_it_has(
    copy_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    directory = copy_of("Provence")
    assert Pruner.load(directory, device="cpu")
    assert not [record for record in caplog.records if record.name.startswith("secateur")]
    write_sums(directory)
    content = bytearray((directory / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (directory / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=f"{WEIGHTS}: is damaged"):
        Pruner.load(directory, device="cpu")


def test_corrupt_weights_are_named(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("Provence")
    (directory / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=rf"copy/{WEIGHTS}: cannot be read"):
        Pruner.load(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model_config": None}, "base_model_config .*found None"),
        (
            {"base_model_config": {"model_type": "bert"}},
            "base_model_config .*'modernbert' in OpenProvence .*'bert'",
        ),
        (
            {"base_model_config": {"model_type": "modernbert", "hidden_size": "many"}},
            r"base_model_config\.hidden_size: .*'many'",
        ),
        (
            {"base_model_config": {"model_type": "modernbert", "hidden_size": 32, "num_attention_heads": 7}},
            "the OpenProvence network cannot be created",
        ),
        (
            {"base_model_config": {"model_type": "modernbert", "max_position_embeddings": 128}},
            r"window is 224, but the encoder has 128 positions",
        ),
        ({"max_length": "long"}, "window: .*'long'"),
        ({"max_length": 16}, "window: .*found 0"),
        ({"default_threadshold": "high"}, "threshold: .*'high'"),
        ({"default_threadshold": 1.5}, r"threshold: .*1\.5"),
    ],
)
def test_a_wrong_configuration_is_named(copy_of: Callable[[str], Path], change: dict[str, Any], message: str) -> None:
    directory = copy_of("OpenProvence")
    edit_config(directory, lambda config: config.update(change))
    with pytest.raises(ModelError, match=message):
        Pruner.load(directory)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_only_torch_runs_a_published_checkpoint(checkpoints: dict[str, Any], backend: str) -> None:
    with pytest.raises(InputError, match=f"backend: '{backend}' cannot run an OpenProvence checkpoint; .*'torch'"):
        Pruner.load(checkpoints["OpenProvence"].directory, backend=backend)


def test_onnx_files_beside_a_checkpoint_are_left_alone(copy_of: Callable[[str], Path]) -> None:
    directory = copy_of("OpenProvence")
    (directory / "onnx").mkdir()
    (directory / "onnx" / "model_int8.onnx").write_bytes(b"of another make")
    assert Pruner.load(directory, device="cpu").backend.name == "torch"
