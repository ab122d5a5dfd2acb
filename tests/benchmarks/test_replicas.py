"""The benchmark of Ray Serve; small, for what it says and not how fast it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.replicas import ReplicaOptions, measure_replicas
from secateur.models.errors import InputError

pytestmark = pytest.mark.e2e


def labelled(path: Path) -> Path:
    """Forty passages, enough for requests of three."""
    passages = [{"text": f"Tower {n} stands in Paris. It was finished in {1800 + n}."} for n in range(40)]
    rows = [{"id": str(n), "query": "Where is it?", "passages": [passage]} for n, passage in enumerate(passages)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_it_is_measured_only_with_something_to_measure() -> None:
    with pytest.raises(InputError, match="--requests"):
        ReplicaOptions(requests=0)
    with pytest.raises(InputError, match="--seconds"):
        ReplicaOptions(seconds=0)


def test_no_request_fails_and_every_server_has_a_row(tmp_path: Path) -> None:
    table = measure_replicas(labelled(tmp_path / "a.jsonl"), ReplicaOptions(4, 3, 16, 1, 6.0))
    assert [row[0] for row in table.rows] == [
        "Secateur",
        "Ray Serve, 1 replica of one processor",
        "Ray Serve, 2 replicas of one processor",
    ]
    assert all(float(row[3]) > 0 for row in table.rows)
    assert "were answered with 200, 0 failed" in table.note
