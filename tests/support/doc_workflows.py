"""The shell blocks of the docs that train, measure, build data or serve, run as they stand.

Each page's run one after the other in a folder that has what they name, in small: labelled queries of a made-up domain,
the shipped configurations with fewer pairs, a tiny model under the name of the shipped one where it is trained or
measured, and a loopback language model. The pages are spread over several test files, because a file is run by one
process.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from chat_server import completion
from doc_blocks import ROOT, Block, commands, workflow_blocks
from live_server import until_ready
from machines import write_machines
from tiny_models import write_cross_encoder, write_tiny_checkpoint

from secateur.eval.run import RunOptions, evaluate
from secateur.models.checkpoint import DEFAULT_MODEL

PATIENCE = 1200.0  # seconds a block; a machine that also trains is slow
QUERIES = 80  # enough to fine-tune on a share of them
FEW_QUERIES = 24
WINDOW = 512  # tokens, of the small model
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = sorted(PROJECT["tool"]["setuptools"]["package-dir"].values())
# `pip install` says what it would install, and stops there.
PIP = {"PIP_DRY_RUN": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
GOODS = ["bells", "tyres", "saddles", "pumps", "lamps", "chains", "brakes", "pedals", "helmets", "gloves", "locks"]


def reply(body: dict[str, Any], number: int) -> dict[str, Any]:
    """A language model's part: it asks, labels, answers and judges, each by a rule."""
    prompt = "".join(message["content"] for message in body["messages"])
    sentences = re.findall(r"^\[(\d+)\] (.*)$", prompt, re.MULTILINE)
    if "JSON list" in prompt:
        shops = re.findall(r"Shop \d+", prompt)
        text = json.dumps([f"When does {shop} open?" for shop in shops[:1]])
    elif sentences:
        question = re.search(r"Question again: (.*)$", prompt, re.MULTILINE)
        shop = re.search(r"Shop \d+", question[1]) if question else None
        cited = [number for number, sentence in sentences if shop is None or f"{shop[0]} " in sentence]
        text = f"It says so [{cited[0]}]." if cited else "No answer"
    else:
        read = re.search(r"reads (\w+) per gauge", prompt)
        text = read[1] if read else "No"
    return completion(text, prompt_tokens=len(prompt) // 4, completion_tokens=len(text) // 4)


def small_config(folder: Path, name: str, base: Path, train: str) -> None:
    """Write a shipped training configuration with few pairs and a small base."""
    content = yaml.safe_load((ROOT / "training" / "configs" / name).read_text(encoding="utf-8"))
    content["base"] = str(base)
    content["data"] |= {"train": train, "pairs": 64}
    path = folder / "training" / "configs" / name
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def for_data(folder: Path, base_model: Path) -> None:
    write_tiny_checkpoint(folder / DEFAULT_MODEL, WINDOW, layers=1)
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copytree(ROOT / "examples" / "handbook", folder / "docs")
    (folder / "questions.txt").write_text("What does the warranty cover?\nMay I return a bicycle?\n")
    rng = random.Random(0)
    rows = [
        {"id": str(i), "text": f"Shop {i} opens at {i + 6}. It sells {', '.join(rng.sample(GOODS, 5))}. Ask {name}."}
        for i, name in enumerate(rng.choices(["Anna", "Boris", "Carla", "Dmitri"], k=40))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "wiki.parquet")
    write_cross_encoder(folder / "CROSS_ENCODER_DIR", base_model)


def for_evaluation(folder: Path, base_model: Path) -> None:
    write_tiny_checkpoint(folder / DEFAULT_MODEL, WINDOW, layers=1)
    data = write_machines(folder / "DATA" / "machines.jsonl", FEW_QUERIES)
    evaluate(data.parent, folder / "runs" / "before", RunOptions(systems=("lead",), limit=60))
    for group in ("prose", "docs", "lines"):
        write_machines(folder / "data" / group / f"{group}.jsonl", FEW_QUERIES)
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    (folder / "DIR" / "qrels").mkdir(parents=True)
    corpus = [{"_id": row["id"], "title": "", "text": row["passages"][0]["text"]} for row in rows]
    queries = [{"_id": row["id"], "text": row["query"]} for row in rows[:9]]
    for name, content in (("corpus", corpus), ("queries", queries)):
        (folder / "DIR" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    judged = "".join(f"{row['id']}\t{row['id']}\t1\n" for row in rows[:9])
    (folder / "DIR" / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")


def for_examples(folder: Path, base_model: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")


def for_retraining(folder: Path, base_model: Path) -> None:
    write_machines(folder / "my.jsonl", QUERIES)
    write_tiny_checkpoint(folder / DEFAULT_MODEL, WINDOW, layers=1)


def for_training(folder: Path, base_model: Path) -> None:
    for part, queries in (("train", QUERIES), ("dev", QUERIES), ("test", FEW_QUERIES)):
        write_machines(folder / part / "machines.jsonl", queries)
    small_config(folder, "secateur-nano-en.yaml", write_tiny_checkpoint(folder / "tiny", WINDOW, layers=1), "train")
    # The card is written into the model's directory: into a copy, which a name means before a shipped model.
    shutil.copytree(ROOT / "models" / "pretrained" / "secateur-nano-en", folder / "secateur-nano-en")
    shutil.copytree(ROOT / "docs" / "cards", folder / "docs" / "cards")
    evaluate(folder / "test", folder / "runs" / "eval", RunOptions(systems=("secateur-int8",)))


def for_quick_start(folder: Path, base_model: Path) -> None:
    """Lay out what the package is built from, as a checkout has it."""
    for name in ("README.md", "LICENSE", "pyproject.toml", *PACKAGES):
        (folder / name).symlink_to(ROOT / name)


PREPARED: dict[str, Callable[[Path, Path], None]] = {
    "docs/data.md": for_data,
    "docs/evaluation.md": for_evaluation,
    "docs/index.md": for_quick_start,
    "docs/integrations.md": for_examples,
    "docs/retraining.md": for_retraining,
    "docs/structure.md": for_examples,
    "docs/training.md": for_training,
}
# Files that must be there after a page.
LEFT_BEHIND = {
    "docs/data.md": ["runs/handbook/model/onnx/model_int8.onnx", "run.trec", "dataset/train/mine.jsonl.gz"],
    "docs/evaluation.md": [
        f"runs/{name}" for name in ("mine/report.html", "groups/report.md", "beir/rerank.trec", "rag/rag.json")
    ],
    "docs/retraining.md": ["my-model/onnx/model_int8.onnx", "my-model/README.md"],
    "docs/training.md": ["runs/secateur-nano-en/model/calibration.json", "runs/report/report.md"],
}


def shell(code: str, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a block in a shell of its own, in which `secateur`, `python` and `pip` are those of this environment."""
    python = shlex.quote(sys.executable)
    prelude = (
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
        f'python() {{ {python} "$@"; }}\nsecateur() {{ {python} -P -m secateur "$@"; }}\n'
        f'pip() {{ {python} -m pip "$@"; }}\n'
    )
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["bash", "-c", prelude + code],
            cwd=folder,
            env={**os.environ, **PIP, "HF_HUB_OFFLINE": "1", **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a block with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    process.wait(PATIENCE)


def is_server(block: Block) -> bool:
    return [pipeline[0][:2] for pipeline in commands(block.code)] == [["secateur", "serve"]]


def run_page(page: str, folder: Path, base_model: Path, language_model: str) -> None:
    """Run the blocks of a page in a folder.

    Args:
        page: Path of the page in the checkout.
        folder: An empty folder.
        base_model: Directory of all-MiniLM-L6-v2.
        language_model: Address of a language model that answers by `reply`.
    """
    PREPARED[page](folder, base_model)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for path in (folder / "examples").glob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("8100", port), encoding="utf-8")
    log = folder / "log"
    for block in workflow_blocks(page):
        code = re.sub(r"http://localhost:8000/v1|\bURL\b", language_model, block.code).replace("8100", port)
        process = shell(code, folder, SECATEUR_PORT="0", OPENAI_API_KEY="sk-loopback")
        try:
            if is_server(block):
                until_ready(process, log)
            else:
                assert process.wait(PATIENCE) == 0, f"{page}:{block.line}: {log.read_text(encoding='utf-8')}"
        finally:
            stop(process)
    for name in LEFT_BEHIND.get(page, ()):
        assert (folder / name).is_file(), f"{page}: no {name}\n{log.read_text(encoding='utf-8')}"
