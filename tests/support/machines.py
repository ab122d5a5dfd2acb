"""A domain of a few sentences, enough to train on: the logs of machines."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

_CODES = ["ZX", "QP", "VB", "KJ", "WM", "TR"]
_STATES = ["frozen", "humming", "leaking", "silent", "glowing"]


def machine_rows(count: int) -> list[dict[str, Any]]:
    """Return labelled queries: the line of a machine's state answers, and nothing else does."""
    rng = random.Random(0)
    rows = []
    for number in range(count):
        code, state = f"{rng.choice(_CODES)}{number}", rng.choice(_STATES)
        answer = f"Unit {code} reads {state} per gauge {rng.randint(100, 999)}."
        sentences = [f"Shift {number} began at dawn.", f"The floor of hall {number} was swept.", answer]
        rng.shuffle(sentences)
        text = " ".join([*sentences, "Tea was served."])
        span = [text.index(answer), text.index(answer) + len(answer)]
        other = f"Hall {number} has two doors. The second one of hall {number} is locked. Nobody has the key."
        passages = [
            {"text": text, "relevant_spans": [span], "relevant": True},
            {"text": other, "relevant_spans": [], "relevant": False},
        ]
        rows.append({"id": str(number), "query": f"state {code}", "answers": [state], "passages": passages})
    return rows


def write_machines(path: Path, count: int) -> Path:
    """Write them as JSON lines; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in machine_rows(count)), encoding="utf-8")
    return path
