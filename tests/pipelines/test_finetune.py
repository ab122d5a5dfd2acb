"""Retraining for real, from the shipped model, on a domain of a few sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import write_machines
from tiny_models import write_tiny_base

from secateur.data_scripts.split import split
from secateur.eval.significance import ComparisonRow
from secateur.models.checkpoint import CALIBRATION, CONFIG, ONNX_FP16, ONNX_INT8, TOKENIZER, WEIGHTS, read_config
from secateur.models.errors import DataError, InputError
from secateur.models.pruner import Pruner
from secateur.models.sums import check_sums
from secateur.pipelines.finetune import (
    FinetuneOptions,
    FinetuneReport,
    Schedule,
    _schedule,
    choose_schedule,
    finetune,
    verdict_table,
)
from secateur.training import export as export_module
from secateur.training.config import DataConfig, OptimConfig, TrainConfig
from secateur.training.run import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_machines(tmp_path_factory.mktemp("domain") / "machines.jsonl", 120)


@pytest.fixture(scope="module")
def report(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneReport:
    """The result for a tiny model that is trained on the domain already, so that it prunes after few steps more."""
    encoder = write_tiny_base(tmp_path_factory.mktemp("encoder"))
    optim = OptimConfig(learning_rate=3e-3, head_multiplier=2, max_tokens=64, freeze_embeddings=False, precision="fp32")
    sampled = DataConfig(train=data, pairs=480)
    base = train(TrainConfig("tiny", str(encoder), tmp_path_factory.mktemp("base"), sampled, optim=optim, window=128))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "CALIBRATION_PAIRS", 40)
        patch.setattr(export_module, "CHECK_PAIRS", 60)
        patch.setattr("secateur.training.calibration.MIN_QUERIES", 15)
        patch.setattr("secateur.pipelines.finetune._pairs_per_second", lambda _: 1.0)  # so 45 pairs, once
        options = FinetuneOptions(base=str(base), minutes=0.75)
        return finetune(data, tmp_path_factory.mktemp("out") / "machines", options)


@pytest.mark.slow
def test_the_new_model_is_whole_and_prunes(report: FinetuneReport) -> None:
    for name in (ONNX_INT8, ONNX_FP16, WEIGHTS, CALIBRATION, "README.md"):
        assert (report.model / name).is_file(), name
    assert check_sums(report.model, [CONFIG, TOKENIZER, CALIBRATION, ONNX_INT8, ONNX_FP16, WEIGHTS])
    assert read_config(report.model).name == "machines"
    pruner = Pruner.load(report.model, device="cpu")
    text = "Shift 7 began at dawn. Unit QP7 reads silent per gauge 123. Tea was served."
    result = pruner.prune("state QP7", [text], target_recall=0.8, return_units=True).results[0]
    assert result.units is not None
    assert max(range(3), key=lambda i: result.units[i].score) == 1  # type: ignore[index]


def test_the_verdict_compares_before_and_after_on_queries_that_were_held_out(report: FinetuneReport) -> None:
    assert report.queries == {"train": 84, "calibration": 18, "test": 18}
    assert not report.worse
    assert {row.figure for row in report.rows} >= {"area", "mrr"}
    assert all(0 <= row.a <= 1 and 0 <= row.b <= 1 and row.low <= row.high for row in report.rows)
    table = verdict_table(report)
    assert "| area |" in table
    assert "promised recall" in table


def test_the_card_tells_how_the_model_was_made(report: FinetuneReport) -> None:
    card = (report.model / "README.md").read_text(encoding="utf-8")
    for said in (
        "# machines",
        "| machines | 84 |",
        "2. from `tiny`: ",
        "| area |",
        "conformal risk control",
        '"seed"',
    ):
        assert said in card, said
    assert str(report.model.parent) not in card


def row(difference: float, low: float, high: float) -> ComparisonRow:
    return ComparisonRow(
        figure="area", scope="macro", a=0.7, b=0.7 + difference, difference=difference, low=low, high=high, p=0.1
    )


def made_up(*rows: ComparisonRow, warnings: tuple[str, ...] = ()) -> FinetuneReport:
    queries = {"train": 1, "calibration": 1, "test": 1}
    return FinetuneReport(Path("m"), queries, Schedule(1, 1, 1e-4, 4), rows, {}, warnings)


def test_a_worse_model_is_called_so() -> None:
    worse = made_up(row(-0.1, -0.15, -0.05))
    assert worse.worse
    assert not made_up(row(0.01, -0.01, 0.03)).worse
    assert "| area | 0.700 | 0.600 | -0.100 | [-0.150, -0.050] | worse |" in verdict_table(worse)


def test_warnings_stand_below_the_table() -> None:
    assert verdict_table(made_up(warnings=("worse than before",))).endswith("WARNING: worse than before\n")


def test_small_data_is_seen_several_times_and_slow_machines_see_less() -> None:
    small, large = choose_schedule(200, 10.0, 60), choose_schedule(20_000, 1000.0, 600)
    assert small.epochs == 3
    assert large.epochs == 1
    assert small.learning_rate < large.learning_rate
    slow = choose_schedule(20_000, 1.0, 10)
    assert slow.pairs * slow.epochs <= 600
    tiny = choose_schedule(60, 10.0, 60)
    assert tiny.pairs * tiny.epochs / tiny.batch_size >= 30


def test_a_second_session_goes_on_with_the_schedule_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the machine then is: other pairs would not fit the checkpoints."""
    queries, options = {"train": 20_000, "calibration": 1, "test": 1}, FinetuneOptions(minutes=1)
    found = []
    for speed in (10.0, 99.0):
        monkeypatch.setattr("secateur.pipelines.finetune._pairs_per_second", lambda _, speed=speed: speed)
        found.append(_schedule(tmp_path, queries, options))
    assert found == [(found[0][0], False), (found[0][0], True)]
    other, resumed = _schedule(tmp_path, queries, FinetuneOptions(minutes=2))
    assert other != found[0][0]
    assert not resumed


def test_unusable_data_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"query": "q", "passages": [{"text": "Cats sleep."}]}', encoding="utf-8")
    with pytest.raises(DataError, match="no passage is labelled as relevant"):
        finetune(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_too_few_to_export_is_refused_before_anything_is_trained(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(data.read_text(encoding="utf-8").split("\n")[:10]), encoding="utf-8")
    with pytest.raises(DataError, match=r"export needs at least 100 \(query, passage\) pairs, it has \d+"):
        finetune(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_too_few_queries_cannot_be_split(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(data.read_text(encoding="utf-8").split("\n")[:2]), encoding="utf-8")
    with pytest.raises(DataError, match="would be empty"):
        split(path, tmp_path / "out", {"train": 0.7, "calibration": 0.15, "test": 0.15})


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_senseless_time_is_refused(minutes: float) -> None:
    with pytest.raises(InputError, match="--minutes"):
        FinetuneOptions(minutes=minutes)
