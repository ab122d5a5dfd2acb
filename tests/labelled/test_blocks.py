from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Loopback, chat_server, completion

from secateur.data_scripts.labels import run
from secateur.data_scripts.labels.labelling import LabelOptions
from secateur.data_scripts.labels.run import label
from secateur.data_scripts.records import Candidates, Chunk, Pair, Query, read_records
from secateur.data_scripts.retrieval.dense import DenseOptions
from secateur.data_scripts.retrieval.index import build_index
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions, retrieve
from secateur.data_scripts.teacher.run import teach_by_model
from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.json_files import write_json_lines
from secateur.llm.budget import Prices
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.models.pruner import Pruner
from secateur.models.segmenters import get_segmenter

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers on this machine."""
    import ray

    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with chat_server(lambda body, number: completion("[1]", prompt_tokens=50, completion_tokens=3)) as running:
        yield running


def test_blocks_hold_every_item_once() -> None:
    assert list(blocks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(blocks([], 2)) == []


def test_here_and_on_ray_the_results_are_the_same(cluster: None) -> None:
    numbers = list(range(7))
    roots = [math.sqrt(number) for number in numbers]
    assert list(map_blocks(math.sqrt, numbers)) == list(map_blocks(math.sqrt, numbers, ray=True)) == roots


def test_no_blocks_need_no_cluster() -> None:
    assert list(map_blocks(math.sqrt, [], ray=False)) == []


def test_a_block_that_fails_says_why(cluster: None) -> None:
    with pytest.raises(DataError, match="unknown segmenter 'none'"):
        list(map_blocks(get_segmenter, ["none"], ray=True))
    with pytest.raises(DataError, match="math domain error"):
        list(map_blocks(math.sqrt, [1, -1], ray=True))


def test_without_ray_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"secateur\[ray\]"):
        list(map_blocks(math.sqrt, [1], ray=True))


def write_pairs(path: Path, count: int) -> Path:
    rows = [Pair(str(number), "When?", f"It was in {number}. Cats sleep.") for number in range(count)]
    write_json_lines(path, rows)
    return path


def test_labels_from_a_cluster_are_those_from_here(
    cluster: None, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_BLOCK", 10)
    pairs = write_pairs(tmp_path / "pairs.jsonl", 25)
    options: dict[str, Any] = {"prices": Prices(1.0, 1.0), "max_cost": 1.0}
    there = label(pairs, tmp_path / "ray.jsonl", server.endpoint(), LabelOptions(**options), ray=True)
    assert (there.labelled, there.sent, len(server.bodies)) == (25, 25, 25)
    here = label(pairs, tmp_path / "here.jsonl", server.endpoint(), LabelOptions(**options))
    assert here.cost == there.cost
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    again = label(pairs, tmp_path / "ray.jsonl", server.endpoint(), LabelOptions(**options), ray=True)
    assert (again.sent, again.cached) == (0, 25)


def test_a_rate_cannot_be_kept_on_a_cluster(server: Loopback, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 1)
    with pytest.raises(InputError, match="requests_per_minute: cannot be kept by workers"):
        label(pairs, tmp_path / "out.jsonl", server.endpoint(), LabelOptions(requests_per_minute=60), ray=True)


def test_an_index_and_scores_from_a_cluster_are_those_from_here(cluster: None, pruner: Pruner, tmp_path: Path) -> None:
    chunks = [Chunk(str(number), "d", f"It was in {1800 + number}. Cats sleep.") for number in range(5)]
    write_json_lines(tmp_path / "chunks.jsonl", chunks)
    write_json_lines(
        tmp_path / "queries.jsonl", [Query(str(number), f"Was it {1800 + number}?") for number in range(3)]
    )
    assert pruner.directory is not None
    made = {}
    for name, ray in (("here", False), ("there", True)):
        index = tmp_path / name
        build_index(tmp_path / "chunks.jsonl", index, DenseOptions(shard=2), ray=ray)
        retrieve(tmp_path / "queries.jsonl", index, tmp_path / f"{name}.jsonl", RetrieveOptions(k=3))
        teach_by_model(tmp_path / f"{name}.jsonl", tmp_path / f"{name}-scored.jsonl", pruner.directory, ray=ray)
        made[name] = list(read_records(tmp_path / f"{name}-scored.jsonl", Candidates))
    assert [[p.id for p in row.passages] for row in made["here"]] == [
        [p.id for p in row.passages] for row in made["there"]
    ]
    scores = [[p.teacher_score for row in made[name] for p in row.passages] for name in ("here", "there")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
