from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import CALIBRATION, resolve
from secateur.models.errors import DataError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.sums import check_sums
from secateur.models.types import Passage
from secateur.training.calibration import (
    best_scores,
    calibrate,
    calibrate_scores,
    check_shift,
    expected_loss,
    held_out_losses,
    query_loss,
    score_shift,
)
from secateur.training.config import DataConfig
from secateur.training.sampling import read_sources
from secateur.training.scoring import LabelledScores, score_examples


def passage(scores: list[float], gold: list[bool], relevant: bool = True) -> LabelledScores:
    return LabelledScores(np.array(scores), np.array(gold), relevant)


def made_up(rng: np.random.Generator, queries: int, strength: float = 1.0) -> list[list[LabelledScores]]:
    """Queries with one to three answering units of five, scored by beta distributions."""
    found = []
    for _ in range(queries):
        gold = np.zeros(5, dtype=bool)
        gold[rng.choice(5, rng.integers(1, 4), replace=False)] = True
        scores = np.where(gold, rng.beta(2 * strength, 1, 5), rng.beta(1, 4, 5))
        found.append([LabelledScores(scores, gold, True), passage([0.1, 0.2], [False, False], False)])
    return found


def test_a_querys_loss_is_the_share_of_its_answering_units_averaged_over_its_passages() -> None:
    queries = [[passage([0.1, 0.6, 0.9], [True, True, False]), passage([0.3], [True]), passage([0.9], [False], False)]]
    assert expected_loss(queries, 0.05) == 0
    assert expected_loss(queries, 0.2) == pytest.approx(0.25)
    assert expected_loss(queries, 0.3) == pytest.approx(0.25)  # a score that equals the threshold is kept
    assert expected_loss(queries, 0.5) == pytest.approx(0.75)
    assert expected_loss(queries, 0.7) == pytest.approx(1.0)
    assert query_loss([passage([0.5], [False], False)]) is None


def test_the_threshold_is_the_highest_that_keeps_the_promise() -> None:
    """Ninety-nine queries that lose their answer at 0.01, 0.02 ... 0.99: each threshold's loss is its hundredfold."""
    queries = [[passage([i / 100], [True])] for i in range(1, 100)]
    calibration = calibrate_scores({"one": queries}, alphas=(0.2, 0.05))
    levels = {level.target_recall: level for level in calibration.levels}
    # (lost + 1) / 100 <= 0.05 allows four lost ones, those at 0.01 to 0.04.
    assert levels[0.95].threshold == pytest.approx(0.05)
    assert levels[0.95].bound == pytest.approx(0.05)
    assert levels[0.80].threshold == pytest.approx(0.20)


@pytest.mark.slow
def test_the_promise_holds_on_data_that_was_not_calibrated_on() -> None:
    """Over repeated splits the mean loss is at most alpha, and not far below it."""
    rng = np.random.default_rng(0)
    found: dict[float, list[float]] = {0.9: [], 0.95: []}
    for _ in range(200):
        calibration = calibrate_scores({"one": made_up(rng, 150)}, alphas=(0.1, 0.05))
        fresh = made_up(rng, 150)
        for level in calibration.levels:
            found[level.target_recall].append(expected_loss(fresh, level.threshold))
    for recall, losses in found.items():
        assert np.mean(losses) <= 1 - recall + 0.004  # two standard errors of the mean of 200 splits
        assert np.mean(losses) >= 1 - recall - 0.02


@pytest.fixture(scope="module")
def scored_sample(labelled_sample: Path, pruner: Pruner) -> dict[str, list[list[LabelledScores]]]:
    sources = read_sources(DataConfig(train=labelled_sample))
    return {name: list(score_examples(pruner, examples)) for name, examples in sources.items()}


@pytest.mark.parametrize("alpha", [0.2, 0.1, 0.05])
def test_the_promise_holds_for_the_shipped_model_on_repeated_splits(
    scored_sample: dict[str, list[list[LabelledScores]]], alpha: float
) -> None:
    """The queries of a random split are exchangeable, so the mean loss over splits is at most alpha."""
    rng = random.Random(0)
    queries = [query for source in scored_sample.values() for query in source]
    losses = []
    for _ in range(200):
        rng.shuffle(queries)
        half = len(queries) // 2
        (level,) = calibrate_scores({"all": queries[:half]}, alphas=(alpha,)).levels
        losses.append(expected_loss(queries[half:], level.threshold))
    error = float(np.std(losses)) / len(losses) ** 0.5
    assert alpha / 2 < np.mean(losses) <= alpha + 2 * error


def test_the_promise_holds_for_the_shipped_model_on_held_out_halves_of_sources(
    scored_sample: dict[str, list[list[LabelledScores]]],
) -> None:
    """Five sources are a sample of domains, so the mean over sources has a margin."""
    rng = random.Random(0)
    losses = []
    for _ in range(50):
        split = {name: rng.sample(queries, len(queries)) for name, queries in scored_sample.items()}
        halves = {name: len(queries) // 2 for name, queries in split.items()}
        first = {name: queries[: halves[name]] for name, queries in split.items()}
        second = {name: queries[halves[name] :] for name, queries in split.items()}
        (level,) = calibrate_scores(first, alphas=(0.2,)).levels
        assert level.loss is not None and level.bound is not None
        assert level.loss <= level.bound <= 0.2
        losses.append(mean_loss(second, level.threshold))
    assert 0.02 < np.mean(losses) <= 0.2


def test_titles_are_shown_as_a_service_does_unless_they_are_left_out(pruner: Pruner) -> None:
    text, query = "It opened in that year.", "When did the Louvre open?"
    example = Example("1", "toy", query, (LabelledPassage(Passage(text, title="Louvre"), ((0, len(text)),), True),))
    (((shown,),), ((left_out,),)) = (list(score_examples(pruner, [example], titles=titles)) for titles in (True, False))
    titled = pruner.prune(query, [{"text": text, "title": "Louvre"}], return_units=True).results[0]
    plain = pruner.prune(query, [text], return_units=True).results[0]
    assert shown.scores[0] == pytest.approx((titled.units or ())[0].score, abs=1e-4)
    assert left_out.scores[0] == pytest.approx((plain.units or ())[0].score, abs=1e-4)
    assert shown.scores[0] > left_out.scores[0] + 0.01
    (default,) = next(score_examples(pruner, [example]))
    assert default.scores[0] == shown.scores[0]


def test_a_hard_small_source_lowers_a_balanced_threshold() -> None:
    rng = np.random.default_rng(1)
    sources = {"easy": made_up(rng, 900, 4.0), "hard": made_up(rng, 100, 0.5)}
    balanced, pooled = (calibrate_scores(sources, alphas=(0.1,), balance=b).levels[0] for b in (True, False))
    assert balanced.threshold < pooled.threshold
    assert balanced.bound is not None and balanced.bound <= 0.1


def domains(rng: np.random.Generator, count: int, queries: int) -> dict[str, list[list[LabelledScores]]]:
    """Sources that differ in how well their answers are scored."""
    return {str(number): made_up(rng, queries, strength=rng.uniform(0.5, 2.5)) for number in range(count)}


def mean_loss(scored: dict[str, list[list[LabelledScores]]], threshold: float) -> float:
    return float(np.mean([expected_loss(queries, threshold) for queries in scored.values()]))


@pytest.mark.slow
def test_the_promise_holds_for_domains_to_come() -> None:
    """In at least nine of ten draws of twelve sources, where without care it would hold in about half of them."""
    rng = np.random.default_rng(3)
    to_come = domains(rng, 100, 20)
    kept = {"one": 0, "all": 0}
    for _ in range(40):
        drawn = domains(rng, 12, 40)
        pooled = {"one": [query for queries in drawn.values() for query in queries]}
        for name, scored in (("one", pooled), ("all", drawn)):
            level = calibrate_scores(scored, alphas=(0.1,)).levels[0]
            assert level.loss is not None and level.bound is not None
            assert level.loss <= level.bound <= 0.1
            kept[name] += mean_loss(to_come, level.threshold) <= 0.1
    assert kept["all"] >= 0.85 * 40
    assert kept["one"] < kept["all"]


@pytest.mark.slow
def test_sources_that_are_alike_cost_little() -> None:
    """The bound over domains is then hardly above the mean."""
    rng = np.random.default_rng(4)
    scored = {str(number): made_up(rng, 300) for number in range(12)}
    together = calibrate_scores({"one": [query for queries in scored.values() for query in queries]}, alphas=(0.1,))
    apart = calibrate_scores(scored, alphas=(0.1,))
    assert apart.levels[0].threshold == pytest.approx(together.levels[0].threshold, abs=0.03)
    assert apart.method == (
        "conformal risk control, and a Student t bound of the mean loss over sources with confidence 0.99"
    )
    assert together.method == "conformal risk control"


def test_few_sources_are_no_sample_of_domains() -> None:
    rng = np.random.default_rng(5)
    assert "over sources" not in calibrate_scores(domains(rng, 4, 60), alphas=(0.1,)).method
    assert "over sources" in calibrate_scores(domains(rng, 5, 60), alphas=(0.2,)).method
    assert "over sources" not in calibrate_scores(domains(rng, 5, 60), alphas=(0.2,), balance=False).method


def test_what_the_data_is_too_small_to_promise_is_left_out() -> None:
    rng = np.random.default_rng(2)
    calibration = calibrate_scores({"one": made_up(rng, 60)})
    assert [level.target_recall for level in calibration.levels] == [0.8, 0.9, 0.95, 0.98]
    with pytest.raises(DataError, match="give at least 50"):
        calibrate_scores({"one": made_up(rng, 30)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty queries whose answers a pruner finds."""
    path = tmp_path_factory.mktemp("calibration") / "visits.jsonl"
    names = ["Anna", "Boris", "Clara", "Dmitri", "Elena", "Farid"]
    places = ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi", "Hanoi", "Tunis", "Sofia", "Perth"]
    lines = []
    for name in names:
        for place in places:
            answer = f"{name} went to {place} in May."
            text = f"It rained all day. {answer} The shop sells bread."
            span = [text.index(answer), text.index(answer) + len(answer)]
            passages = [
                {"text": text, "relevant_spans": [span], "relevant": True},
                {"text": "Cats sleep a lot. Dogs bark.", "relevant_spans": [], "relevant": False},
            ]
            lines.append(json.dumps({"query": f"Where did {name} go in May?", "passages": passages}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def calibrated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "copy"
    shutil.copytree(resolve(None), directory)
    calibrate(directory, data)
    assert check_sums(directory, [CALIBRATION])  # its sum was renewed
    return directory


def test_a_calibrated_model_takes_a_target_recall(calibrated: Path, data: Path) -> None:
    calibration = Calibration.read(calibrated)
    assert calibration is not None
    thresholds = calibration.thresholds
    assert set(thresholds) == {0.8, 0.9, 0.95, 0.98}
    pruner = Pruner.load(calibrated, device="cpu")
    row = json.loads(data.read_text(encoding="utf-8").split("\n")[0])
    result = pruner.prune(row["query"], [p["text"] for p in row["passages"]], target_recall=0.9, return_units=True)
    for one in result.results:
        assert one.units is not None
        assert all(unit.kept == (unit.score >= thresholds[0.9]) for unit in one.units)


def test_the_file_tells_how_it_was_made(calibrated: Path) -> None:
    content = json.loads((calibrated / CALIBRATION).read_text(encoding="utf-8"))
    assert content["queries"] == {"visits": 60}
    assert content["passages"] == 120
    assert content["backend"].split()[0] in ("openvino", "onnx")
    assert len(content["score_quantiles"]) == 101


def test_a_sample_like_the_calibration_data_shows_no_shift(calibrated: Path, data: Path) -> None:
    shift = check_shift(calibrated, data)
    assert not shift.significant
    assert "no shift" in shift.verdict


def test_a_sample_is_read_with_titles_if_the_calibration_was(tmp_path: Path, calibrated: Path) -> None:
    """The titles tell who is meant, so scores differ without them."""
    lines = [
        json.dumps(
            {
                "query": f"When was {name} built?",
                "passages": [
                    {"title": name, "text": "It was built in 1889. The shop is closed.", "relevant_spans": [[0, 21]]},
                    {"title": "A list of birds", "text": "It was seen in 1950. The shop is closed."},
                ],
            }
        )
        for name in (f"Tower {number}" for number in range(60))
    ]
    data = tmp_path / "towers.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    model = tmp_path / "copy"
    shutil.copytree(calibrated, model)
    quantiles = []
    for titles in (True, False):
        calibration = calibrate(model, data, titles=titles)
        content = json.loads((model / CALIBRATION).read_text(encoding="utf-8"))
        assert content["titles"] is calibration.titles is titles
        assert check_shift(model, data).distance < 0.05  # quantiles are 101 points of it
        promised = {level.target_recall: level.loss for level in calibration.levels}
        assert held_out_losses(model, data)["towers"] == pytest.approx(promised, abs=1e-6)
        quantiles.append(content["score_quantiles"])
    assert score_shift(quantiles[0], 120, np.array(quantiles[1])).distance > 0.2


def test_a_sample_of_another_kind_is_told(calibrated: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps({"query": f"Where did she go in {year}?", "passages": [{"text": f"She went to Rome in {year}."}]})
        for year in range(1950, 1990)
    ]
    (tmp_path / "sample.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shift = check_shift(calibrated, tmp_path / "sample.jsonl")
    assert shift.significant
    assert "recalibrate" in shift.verdict


def test_a_distribution_is_its_own_neighbour_and_far_from_another() -> None:
    rng = np.random.default_rng(3)
    reference, same, other = rng.beta(2, 5, 4000), rng.beta(2, 5, 400), rng.beta(5, 2, 400)
    quantiles = np.quantile(reference, np.linspace(0, 1, 101)).tolist()
    assert not score_shift(quantiles, 4000, same).significant
    assert score_shift(quantiles, 4000, other).significant


def test_ties_in_the_calibration_scores_are_no_shift() -> None:
    """Half of the scores are the same."""
    scores = np.concatenate([np.full(500, 0.01), np.linspace(0.02, 0.9, 500)])
    quantiles = np.quantile(scores, np.linspace(0, 1, 101)).tolist()
    assert score_shift(quantiles, 1000, scores).distance < 0.02


def test_shift_needs_a_calibrated_model_and_a_sample(calibrated: Path, tmp_path: Path, data: Path) -> None:
    copy = tmp_path / "bare"
    shutil.copytree(resolve(None), copy)
    (copy / CALIBRATION).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="secateur calibrate"):
        check_shift(copy, data)
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"query": "q?", "passages": [{"text": "One."}]}), encoding="utf-8")
    with pytest.raises(DataError, match="at least 20"):
        check_shift(calibrated, few)


def test_the_best_score_of_each_passage_is_its_highest_unit() -> None:
    assert best_scores([[passage([0.1, 0.7], [True, False])], [passage([0.2], [False])]]).tolist() == [0.7, 0.2]


def test_data_without_a_usable_query_is_an_error(calibrated: Path, tmp_path: Path) -> None:
    path = tmp_path / "blank.jsonl"
    path.write_text(json.dumps({"query": " ", "passages": []}), encoding="utf-8")
    with pytest.raises(DataError, match="no labelled example"):
        calibrate(calibrated, path)
