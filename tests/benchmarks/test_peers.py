from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.contestants.backbone import backbone_cross_encoder, backbone_onnx
from benchmarks.contestants.base import Loaded, Workplace
from benchmarks.contestants.provence import random_network
from benchmarks.contestants.registry import CONTESTANTS, OURS, find_contestants
from benchmarks.memory import contestant_peak_bytes, own_peak_bytes, tree_peak_bytes
from benchmarks.peers import HEADER, PeerOptions, measure_peers
from benchmarks.tables import BenchTable
from benchmarks.workload import BenchRequest, mixed_requests
from secateur.models.errors import InputError, SecateurError

REQUEST = BenchRequest(
    "When was the tower completed?",
    ("It was completed in 1889.", "Cats sleep. " * 200, "Plants give off oxygen. They take in water."),
)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("workplace"), "tiny")


@pytest.fixture(scope="session")
def load(workplace: Workplace) -> Callable[[str], Loaded]:
    def load(name: str) -> Loaded:
        if name.startswith("flashrank"):
            pytest.importorskip("flashrank")
        return CONTESTANTS[name].load(workplace)

    return cache(load)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_contestant_runs(load: Callable[[str], Loaded], name: str) -> None:
    loaded = load(name)
    assert loaded.precision in {"fp32", "fp16", "int8"}
    run = loaded.prepare(REQUEST)
    run()
    run()


@pytest.mark.slow
def test_the_ranking_contestants_agree_on_the_scores(load: Callable[[str], Loaded]) -> None:
    torch_scores: Any = load("cross-encoder").prepare(REQUEST)()
    onnx_scores: Any = load("cross-encoder-onnx").prepare(REQUEST)()
    np.testing.assert_allclose(onnx_scores, torch_scores, atol=1e-5)
    ranked = load("flashrank").prepare(REQUEST)()
    assert isinstance(ranked, list)
    by_id = {passage["id"]: passage["score"] for passage in ranked}
    np.testing.assert_allclose([by_id[i] for i in range(3)], torch_scores, atol=1e-5)


@pytest.mark.slow
def test_the_backbone_is_made_once(workplace: Workplace) -> None:
    directory = backbone_cross_encoder(workplace.directory)
    before = (directory / "model.safetensors").stat().st_mtime_ns
    assert backbone_cross_encoder(workplace.directory) == directory
    assert (directory / "model.safetensors").stat().st_mtime_ns == before
    assert backbone_onnx(workplace.directory).is_file()


@pytest.mark.parametrize(
    ("name", "millions"), [("provence", 435), ("open-provence-base", 150), ("open-provence-xsmall", 37)]
)
def test_networks_have_their_published_sizes(name: str, millions: int) -> None:
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        network = random_network(name)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_ours_is_always_among_the_contestants() -> None:
    assert [c.name for c in find_contestants(["bare-onnx"])] == [OURS, "bare-onnx"]
    assert [c.name for c in find_contestants([])] == list(CONTESTANTS)
    with pytest.raises(InputError, match="unknown 'x'"):
        find_contestants(["x"])


def test_requests_are_the_same_every_time_and_of_mixed_lengths(bench_data: Path) -> None:
    requests = mixed_requests(bench_data, 5, 3)
    assert requests == mixed_requests(bench_data, 5, 3)
    assert len({len(text) for request in requests for text in request.passages}) > 3
    assert all(len(set(request.passages)) == 5 for request in requests)


@pytest.fixture(scope="module")
def table(bench_data: Path) -> Iterator[BenchTable]:
    """A small race, with the memory of each contestant measured once and not for each workload."""
    measured = cache(lambda name, workplace: contestant_peak_bytes(name, workplace, REQUEST.first(1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.peers.contestant_peak_bytes", lambda name, place, request: measured(name, place))
        names = ("bare-onnx", "open-provence-xsmall")
        yield measure_peers(bench_data, PeerOptions(contestant=names, passages=(3, 2), rounds=2, sizes="tiny"))


@pytest.mark.slow
def test_the_table_has_a_row_for_each_contestant_and_workload(table: BenchTable) -> None:
    assert [(row[0].split(" ")[0], row[1]) for row in table.rows] == [
        (name, passages) for passages in "23" for name in ("Secateur", "floor:", "OpenProvence")
    ]
    assert {len(row) for row in table.rows} == {len(HEADER)}
    calls, ratio, memory = (HEADER.index(name) for name in ("calls", "its time / ours", "peak memory"))
    assert {row[calls] for row in table.rows} == {"2"}
    assert table.rows[0][ratio] == "1" and float(table.rows[1][ratio]) > 0
    assert table.rows[1][memory] == "–", "the engine that makes the floor's batches is in memory too"
    assert all(row[memory].endswith(" MB") for row in (table.rows[0], table.rows[2]))
    assert "onnxruntime" in table.note and "Left out" not in table.note


@pytest.mark.slow
def test_a_missing_package_leaves_its_contestant_out(bench_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashrank", None)
    monkeypatch.setattr("benchmarks.peers.contestant_peak_bytes", lambda name, place, request: 1_000_000)
    table = measure_peers(bench_data, PeerOptions(contestant=("flashrank",), passages=(2,), rounds=1))
    assert [row[0] for row in table.rows] == ["Secateur"]
    assert "Left out: FlashRank: " in table.note


@pytest.mark.slow
def test_what_does_not_fit_the_budget_is_said_in_the_table(bench_data: Path) -> None:
    options = PeerOptions(contestant=("bare-onnx",), passages=(2,), rounds=1, budget_s=1e-6)
    table = measure_peers(bench_data, options)
    assert all(row[4].startswith("not run: a call would take") for row in table.rows)
    assert {len(row) for row in table.rows} == {len(HEADER)}


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(workplace: Workplace) -> None:
    ballast = np.ones(1_000_000_000, dtype=np.uint8)
    assert own_peak_bytes() > ballast.nbytes
    assert 50e6 < contestant_peak_bytes(OURS, workplace, REQUEST.first(1)) < ballast.nbytes


def test_a_failing_child_says_why(workplace: Workplace) -> None:
    with pytest.raises(SecateurError, match="measures nobody's memory ended with code 1: KeyError"):
        contestant_peak_bytes("nobody", workplace, REQUEST)


def test_a_process_that_ended_has_no_memory() -> None:
    with pytest.raises(SecateurError, match="has ended"):
        tree_peak_bytes(2**22 + 1)


@pytest.mark.parametrize(("name", "value"), [("rounds", 0), ("passages", ()), ("passages", (0,)), ("budget_s", 0)])
def test_senseless_options_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')}"):
        PeerOptions(**{name: value})  # type: ignore[arg-type]


def test_ours_cannot_be_left_out(bench_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises((ImportError, SecateurError)):
        measure_peers(bench_data, PeerOptions(contestant=(OURS,), passages=(2,), rounds=1))
