from __future__ import annotations

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import Loopback, chat_server, completion
from fastapi.responses import JSONResponse

from secateur.cli import main
from secateur.data_scripts.building.build import build
from secateur.data_scripts.building.config import BuildConfig
from secateur.data_scripts.check import check_data
from secateur.data_scripts.split import split
from secateur.labelled.yaml_files import read_yaml
from secateur.models.errors import DataError, InputError
from secateur.training.export import check_enough

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "handbook.yaml"
STEPS = ["ingest", "chunk", "queries", "index", "retrieve", "round-trip", "pairs", "label", "publish"]


def rule_based_labeller() -> Any:
    spec = importlib.util.spec_from_file_location("labeller", ROOT / "examples" / "rule_based_labeller.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    """The labeller of the example, which is no language model."""
    labeller = rule_based_labeller()

    def behave(body: dict[str, Any], number: int) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        question = labeller._QUESTION.search(prompt)
        numbers = labeller.cited(question[1], labeller._SENTENCE.findall(prompt))
        return completion("".join(f"[{one}]" for one in numbers) or "No answer", prompt_tokens=9, completion_tokens=2)

    with chat_server(behave) as running:
        yield running


def config_file(folder: Path, server: Loopback, **changes: Any) -> Path:
    """The example's configuration, with the server's address and a directory of its own."""
    content = yaml.safe_load(EXAMPLE.read_text())
    content["out"] = str(folder / "out")
    content["ingest"]["sources"] = [str(ROOT / "examples" / "handbook")]
    content["queries"]["own"] = str(ROOT / "examples" / "handbook-questions.txt")
    content["llm"]["base_url"] = server.url
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


def made(folder: Path) -> dict[str, bytes]:
    """What a build made, archives unpacked, without replies and what depends on the time."""
    files = {}
    for path in sorted((folder / "out").rglob("*")):
        name = str(path.relative_to(folder / "out"))
        # A kill leaves the hidden file that was being written.
        whole = path.is_file() and path.suffix not in (".parquet", ".partial")
        if whole and not name.startswith(("replies", "index")):
            files[name] = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return files


@pytest.fixture(scope="module")
def built(server: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    lines = list(build(read_yaml(config_file(folder, server), BuildConfig)))
    assert [line.partition(":")[0] for line in lines] == STEPS
    return folder


@pytest.mark.slow
def test_the_example_makes_a_dataset_that_can_be_trained_on(built: Path) -> None:
    report = check_data(built / "out" / "dataset" / "train")
    assert report.usable
    (source,) = report.sources
    assert source.queries >= 15
    assert source.kept > source.queries / 2
    rows = gzip.decompress((built / "out" / "dataset" / "train" / "handbook.jsonl.gz").read_bytes()).splitlines()
    by_query = {row["query"]: row for row in map(json.loads, rows)}
    spans = [
        passage["text"][start:end]
        for passage in by_query["How should I store the battery in winter?"]["passages"]
        for start, end in passage["relevant_spans"]
    ]
    assert any("Store the battery in a dry room" in span for span in spans)


def test_the_example_is_enough_to_fine_tune_on(built: Path, tmp_path: Path) -> None:
    split(built / "out" / "dataset" / "train", tmp_path, {"train": 0.7, "calibration": 0.15, "test": 0.15})
    check_enough(tmp_path / "train")


def test_a_second_run_does_nothing(built: Path, server: Loopback) -> None:
    before, asked = made(built), len(server.bodies)
    lines = list(build(read_yaml(built / "build.yaml", BuildConfig)))
    assert lines == [f"{name}: up to date" for name in STEPS]
    assert (made(built), len(server.bodies)) == (before, asked)


@pytest.mark.slow
def test_what_was_changed_is_done_again_with_all_behind_it(built: Path, server: Loopback, tmp_path: Path) -> None:
    path = config_file(tmp_path, server)
    list(build(read_yaml(path, BuildConfig)))
    asked = len(server.bodies)
    path = config_file(tmp_path, server, pairs={"top": 3, "bands": "4-10:1"})
    lines = list(build(read_yaml(path, BuildConfig)))
    assert [line.endswith("up to date") for line in lines] == [True] * 6 + [False] * 3
    assert len(server.bodies) - asked < asked  # pairs that were labelled before come from the cache


@pytest.mark.slow
def test_a_build_that_is_killed_goes_on_to_the_same_files(built: Path, server: Loopback, tmp_path: Path) -> None:
    path = config_file(tmp_path, server)
    asked = len(server.bodies)
    command = [sys.executable, "-m", "secateur", "data", "build", str(path)]
    for step in ("index", "label", "publish"):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        began = time.monotonic()
        for line in process.stderr:
            assert time.monotonic() - began < 300
            if line.rstrip().endswith(f"{step} ..."):
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    expected, found = made(built), made(tmp_path)
    assert expected.keys() == found.keys()
    # The state names the settings, and so the directories of the two builds.
    assert {name for name in expected if expected[name] != found[name]} <= {"steps.json"}
    answered = {json.dumps(json.loads(body)["messages"]) for body in server.bodies[asked:]}
    under_way = 8  # requests that a kill may have cut off: they are asked again
    assert len(server.bodies) - asked <= len(answered) + under_way


@pytest.mark.slow
def test_a_step_that_lacks_replies_ends_the_build(server: Loopback, tmp_path: Path) -> None:
    path = config_file(tmp_path, server)
    honest = server.behave
    server.behave = lambda body, number: JSONResponse({}, 400) if number % 5 == 0 else honest(body, number)
    try:
        with pytest.raises(DataError, match="requests got no reply; run again"):
            list(build(read_yaml(path, BuildConfig)))
    finally:
        server.behave = honest
    lines = list(build(read_yaml(path, BuildConfig)))
    assert next(line for line in lines if not line.endswith("up to date")).startswith("label")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": {"tops": 1}}, r"pairs\.tops: Unexpected keyword argument"),
        ({"chunk": {"max_units": "many"}}, r"chunk\.max_units"),
        ({"lable": {}}, "lable: Unexpected keyword argument"),
    ],
)
def test_a_configuration_that_is_wrong(server: Loopback, tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_yaml(config_file(tmp_path, server, **changes), BuildConfig)


def test_a_configuration_without_the_llm_that_it_needs(server: Loopback, tmp_path: Path) -> None:
    path = config_file(tmp_path, server)
    content = yaml.safe_load(path.read_text())
    del content["llm"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"llm: is missing, but needed by label\.method"):
        read_yaml(path, BuildConfig)


def test_the_command(built: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["data", "build", str(built / "build.yaml")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "publish: up to date"
    (tmp_path / "none.yaml").write_text("out: x\ningest: {sources: [/nowhere]}\nlabel: {method: spans}\n")
    assert main(["data", "build", str(tmp_path / "none.yaml")]) == 1
    assert "/nowhere: cannot be read" in capsys.readouterr().err
