"""A small run with everything that a run may lack: figures, intervals, thresholds, comparisons."""

from __future__ import annotations

from typing import Any

import pytest


def figures(area: float | None, *, threshold: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {
        "queries": 60,
        "passages": 600,
        "mrr": None,
        "histogram": {"edges": [i / 20 for i in range(21)], "gold": [0] * 20, "other": [100, *range(19)]},
        "reliability": [{"low": 0.0, "high": 0.1, "mean": 0.04, "share": 0.02, "units": 900}],
        "intervals": {},
    }
    if area is not None:
        found |= {
            "area": area,
            "mrr": 0.9,
            "ndcg@10": 0.91,
            "curve": [max(area + 0.1 - (i / 50) ** 2 / 4, 0.0) for i in range(51)],
            "compression_at_retention": {"0.90": area - 0.1, "0.95": area - 0.2, "0.98": None},
            "intervals": {"area": [area - 0.03, area + 0.02]},
        }
        if threshold:
            found["default"] = {"threshold": 0.1, "retention": 0.93, "compression": 0.8}
            found["intervals"]["default.retention"] = [0.91, 0.95]
    return found


def compared(b: str, scope: str, difference: float, p: float) -> dict[str, Any]:
    interval = [difference - 0.04, difference + 0.04]
    return {
        "a": "secateur",
        "b": b,
        "figure": "area",
        "scope": scope,
        "difference": difference,
        "interval": interval,
    } | {"p": p}


@pytest.fixture
def metrics() -> dict[str, Any]:
    areas = {"secateur": (0.761, 0.652), "bm25": (0.501, 0.731), "random_$x$": (0.2, None)}
    systems = {
        name: {
            "about": {"what": f"{name} itself", "weights": "nano, 23 MB"} if name == "secateur" else {},
            "trained_on": ["contracts"] if name == "secateur" else [],
            "threshold": 0.1 if name == "secateur" else None,
            "seconds": 12.34,
            "macro": figures(first, threshold=name == "secateur"),
            "sources": {
                "contracts": figures(first, threshold=name == "secateur"),
                "tables": figures(second, threshold=name == "secateur"),
                "unanswerable": figures(None),
            },
        }
        for name, (first, second) in areas.items()
    }
    grid = {"positions": [0.05, 0.5], "lengths": [5, 10, 20], "found": [[0.98, 0.97], [0.9, None], [0.8, 0.71]]}
    needles = {"1": {"found": 0.98, "extra_units": 0.7, "passages": 900, "interval": [0.97, 0.99]}}
    changed = {"difference": -0.061, "interval": [-0.08, -0.04], "p": 0.001}
    return {
        "secateur": "0.1.0",
        "setup": {"data": "test", "limit": None, "titles": False, "machine": "a | b"},
        "skipped": {"contracts": {"query too long": 3}},
        "systems": systems,
        "comparisons": [
            compared("bm25", "macro", 0.26, 0.0001),
            compared("bm25", "contracts", 0.26, 0.0001),
            compared("bm25", "tables", -0.079, 0.0001),
            compared("random_$x$", "contracts", 0.012, 0.4),
        ],
        "needle": {"systems": {"secateur": {"needles": needles, "grid": grid}}},
        "robustness": {
            "systems": {
                "secateur": {"typos": {"area": 0.7, "area_difference": changed}, "upper case": {"area": 0.76}},
            },
            "about": {"typos": "one typo in each fifth word", "upper case": "passages in capitals"},
            "queries": 12,
        },
    }


@pytest.fixture
def worst() -> dict[str, Any]:
    units = [
        {"text": "It rained.", "score": 0.01, "gold": False, "kept": False},
        {"text": "Anna won. <script>alert(1)</script>", "score": 0.05, "gold": True, "kept": False},
        {"text": "Cats & dogs.", "score": 0.5, "gold": False, "kept": True},
        {"text": "She ran.", "score": 0.777, "gold": True, "kept": True},
    ]
    row = {
        "source": "contracts",
        "query": "Who <b>won</b>?",
        "passage_id": '"><img src=x onerror=alert(1)>',
        "score": 0.93,
        "threshold": 0.1,
        "units": units,
    }
    return {"system": "secateur", "losses": [row] * 3, "keeps": [row]}
