"""The command line: what it reads and writes, its options, its exit codes and its one-line errors."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from command_line import QUERY, TEXTS, spawn

from secateur.cli import main
from secateur.cli.app import docstrings, parse
from secateur.labelled.text_files import read_limited
from secateur.models.options import option_table
from secateur.models.pruner import Pruner
from secateur.models.segmentation import FORMATS
from secateur.models.types import Passage

PATIENCE = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the command line left."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs the command line in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    on_sigterm = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Outcome:
        try:
            code = main(arguments)
        except SystemExit as end:  # of the service
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, on_sigterm)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Names of text files in the working directory, a passage each."""
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return list(TEXTS)


def one_line(outcome: Outcome) -> str:
    """Check that a failed run said so in one line, and return it."""
    assert outcome.out == ""
    assert outcome.err.startswith("secateur: error: ")
    assert outcome.err.count("\n") == 1 and outcome.err.endswith("\n")
    return outcome.err


# Pruning


@pytest.mark.slow
def test_stdin_is_one_passage_and_the_kept_text_goes_to_stdout(
    pruner: Pruner, threshold: float, tmp_path: Path
) -> None:
    text = "Die Brücke 🌉 is closed.\n\n" + TEXTS["tower.txt"]
    done = spawn("prune", "-q", QUERY, "--threshold", str(threshold), input=text.encode(), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = pruner.prune(QUERY, [text], threshold=threshold).text
    assert done.stdout.decode() == (expected + "\n" if expected else "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--threshold", "SOME"], {"threshold": "SOME"}),
        (["--threshold", "0", "--top-n", "1"], {"threshold": 0.0, "top_n": 1}),
        (
            ["--threshold", "0", "--max-tokens", "20", "--no-reorder"],
            {"threshold": 0.0, "max_tokens": 20, "reorder": False},
        ),
        (["--threshold", "0", "--min-score", "0.5"], {"threshold": 0.0, "min_score": 0.5}),
    ],
    ids=["threshold", "top-n", "max-tokens", "min-score"],
)
def test_each_file_is_a_passage_and_options_are_the_librarys(
    run: Run,
    files: list[str],
    pruner: Pruner,
    threshold: float,
    arguments: list[str],
    options: dict[str, Any],
) -> None:
    arguments = [str(threshold) if a == "SOME" else a for a in arguments]
    options = {key: threshold if value == "SOME" else value for key, value in options.items()}
    outcome = run("prune", "-q", QUERY, *arguments, *files)
    expected = pruner.prune(QUERY, list(TEXTS.values()), **options).text
    assert outcome == Outcome(0, expected + "\n" if expected else "", "")
    assert expected != "\n\n".join(TEXTS.values()), "the options must change something"


def test_json_has_the_librarys_fields_and_values(run: Run, files: list[str], pruner: Pruner, threshold: float) -> None:
    outcome = run("prune", "-q", QUERY, "--json", "--threshold", str(threshold), *files)
    assert (outcome.code, outcome.err) == (0, "")
    got = json.loads(outcome.out)
    passages = [Passage(text, id=name) for name, text in TEXTS.items()]
    expected = json.loads(json.dumps(asdict(pruner.prune(QUERY, passages, threshold=threshold, return_units=True))))
    assert set(got) == {"model", *expected}
    assert got["model"] == pruner.config.name
    assert got["usage"] == expected["usage"]
    assert set(got["timings"]) == set(expected["timings"])
    for mine, its in zip(got["results"], expected["results"], strict=True):
        assert mine.pop("score") == pytest.approx(its.pop("score"), abs=1e-4)
        for my_unit, its_unit in zip(mine["units"], its["units"], strict=True):
            assert my_unit.pop("score") == pytest.approx(its_unit.pop("score"), abs=1e-4)
        assert mine == its
    assert {result["id"] for result in got["results"]} == set(TEXTS)


def test_json_lines_are_strings_and_objects(run: Run, tmp_path: Path) -> None:
    objects = ["It is 🗼 high.", {"id": 7, "text": "A\u2028b. C.", "title": None, "metadata": {"page": 3}, "rank": 1}]
    lines = [json.dumps(item, ensure_ascii=False) for item in objects]
    (tmp_path / "passages.jsonl").write_text("\ufeff" + "\r\n\n".join(lines) + "\n", encoding="utf-8", newline="")
    outcome = run("prune", "-q", QUERY, "--json", "--threshold", "0", "--no-reorder", "passages.jsonl")
    first, second = json.loads(outcome.out)["results"]
    assert (first["id"], first["text"], first["metadata"]) == (None, "It is 🗼 high.", None)
    assert (second["id"], second["text"], second["metadata"]) == (7, "A\u2028b. C.", {"page": 3})


PASSAGES = ["One is.", {"text": "Two is.", "id": 7, "format": "lines"}]
READ = [(None, "One is.", "text"), (7, "Two is.", "lines")]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.json", json.dumps(PASSAGES), READ),
        ("a.ndjson", "".join(f"{json.dumps(one)}\n" for one in PASSAGES), READ),
        ("a.json", "\ufeff" + json.dumps(PASSAGES, indent=1), READ),
        ("a.json", '{"text": "One is."}', [("a.json", '{"text": "One is."}', "json")]),
        ("a.json", '[{"text": "a"}, {"name": "b"}]', [("a.json", '[{"text": "a"}, {"name": "b"}]', "json")]),
        ("a.json", "[1, 2]", [("a.json", "[1, 2]", "json")]),
        ("a.json", '["cut', [("a.json", '["cut', "json")]),
        ("a.txt", '["One is."]', [("a.txt", '["One is."]', "json")]),
    ],
    ids=["list", "lines", "byte order mark", "object", "other objects", "numbers", "cut", "text file"],
)  # fmt: skip
def test_a_json_file_with_a_list_of_passages_is_read_as_passages(
    run: Run, tmp_path: Path, name: str, content: str, found: list[tuple[str | int | None, str, str]]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    outcome = run("prune", "-q", QUERY, "--json", "--threshold", "0", "--no-reorder", name)
    got = [(item["id"], item["text"], item["format"]) for item in json.loads(outcome.out)["results"]]
    assert (outcome.code, got) == (0, found)


def test_the_format_is_that_of_passages_that_do_not_name_their_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(PASSAGES))
    (tmp_path / "b.json").write_text('{"a": 1}')
    outcome = run("prune", "-q", QUERY, "--json", "--format", "markdown", "--no-reorder", "a.json", "b.json")
    assert [item["format"] for item in json.loads(outcome.out)["results"]] == ["markdown", "lines", "markdown"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "1"], "at threshold 1; lower --threshold"),
        (["--threshold", "0", "--max-tokens", "1"], "at threshold 0; raise --max-tokens"),
        (["--compression", "1"], "at threshold 0; lower --compression"),
        (["--threshold", "1", "--min-score", "1", "--never-keep", "a"],
         "at threshold 1; lower --threshold, or lower --min-score, or give fewer --never-keep"),
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_kept_is_exit_code_3_and_one_line_that_says_what_to_do(
    run: Run, files: list[str], arguments: list[str], said: str, form: str
) -> None:
    output = ["--json"] if form == "json" else []
    outcome = run("prune", "-q", QUERY, "--no-keep-relevant", *arguments, *output, *files)
    assert (outcome.code, outcome.err) == (3, f"secateur: nothing was kept {said}\n")
    if form == "json":
        assert all(item["empty"] for item in json.loads(outcome.out)["results"])
    else:
        assert outcome.out == ""


def test_nothing_kept_of_nothing_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n")
    outcome = run("prune", "-q", QUERY, "blank.txt")
    assert outcome == Outcome(3, "", "secateur: nothing was kept: the passages have no text\n")


def test_what_did_not_fit_is_a_warning_on_stderr(run: Run, tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text(STOCK)
    outcome = run("prune", "-q", QUERY, *BY_HAND, "--always-keep", "numbers", "--max-tokens", "20", "stock.csv")
    assert (outcome.code, outcome.out.splitlines()[0], outcome.out.count("\n")) == (0, "name,price,stock", 2)
    said = "secateur: warning: always_keep: matching units did not fit into the token budget: 2\n"
    assert outcome.err == said


def test_a_named_pipe_is_read_and_what_has_no_end_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("\ufeffIt is. It was.",))
    writer.start()
    assert run("prune", "-q", "q", "--threshold", "0", str(pipe)).out == "It is. It was.\n"
    writer.join()
    monkeypatch.setattr("secateur.cli.reading.read_limited", partial(read_limited, limit=1 << 20))
    outcome = run("prune", "-q", "q", "/dev/zero")
    assert outcome.code == 2
    assert "/dev/zero: is larger than 1 MiB" in one_line(outcome)


def test_stdin_can_be_json_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"One is."\n{"text": "Two is."}\n')))
    outcome = run("prune", "-q", QUERY, "--jsonl", "--threshold", "0", "--no-reorder")
    assert outcome == Outcome(0, "One is.\n\nTwo is.\n", "")


def test_json_can_carry_any_id_and_warnings_go_to_stderr(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"text": "\\udc00 is.", "id": "\\ud800"}')
    outcome = run("prune", "-q", QUERY, "--json", "--threshold", "0", "odd.jsonl")
    assert outcome.code == 0
    assert json.loads(outcome.out)["results"][0]["id"] == "\ud800"
    assert outcome.err.startswith("secateur: warning: passages[0]")


def test_a_terminal_that_cannot_show_a_character_gets_it_escaped(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("Zürich is.", encoding="utf-8")
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert run("prune", "-q", QUERY, "--threshold", "0", "a.txt").code == 0
    assert out.getvalue() == b"Z\\xfcrich is.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-q", "q", "missing.txt"], "missing.txt: cannot be read (No such file or directory)"),
        (["-q", "q", "."], ".: cannot be read (Is a directory)"),
        (["-q", "q", "latin1.txt"], "latin1.txt: byte 3 (0xe9) is not UTF-8"),
        (["-q", "q", "utf16.jsonl"], "utf16.jsonl: is UTF-16, not UTF-8"),
        (["-q", "q", "cut.jsonl"], "cut.jsonl, line 3: is not JSON"),
        (["-q", "q", "number.jsonl"], "number.jsonl, line 2: 42 is not a passage"),
        (["-q", "q", "textless.jsonl"], "textless.jsonl, line 1.text: is missing"),
        (["-q", "q", "deep.jsonl"], "deep.jsonl, line 1: is not JSON"),
        (["-q", "q", "format.json"], "format.json[1].format: unknown format 'pdf'"),
        (["-q", "q", "empty.json"], "passages: is empty"),
        (["-q", "q", "--always-keep", "re:(", "good.txt"], "always_keep[0]: 're:(' is not a valid RE2 pattern"),
        (["-q", "q", "--never-keep", "", "good.txt"], "never_keep[0]: has 0 characters"),
        (["-q", "q", "--gap-marker", "{line}", "good.txt"], "gap_marker: '{line}' has the unknown field {line}"),
        (["-q", "q", "--compression=0.5", "--max-tokens=9", "good.txt"], "compression: cannot be used with max_tokens"),
        (["-q", "q", "--jsonl", "empty.txt"], "passages: is empty"),
        (["-q", " ", "good.txt"], "query: is empty"),
        (["-q", "q", "--threads", "0", "good.txt"], "threads: 0 is not a positive integer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.skipif(sys.platform == "win32", reason="the system's own messages differ")
def test_bad_usage_is_exit_code_2_and_one_line(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    (tmp_path / "utf16.jsonl").write_text('"one"', encoding="utf-16")
    (tmp_path / "cut.jsonl").write_text('"one"\n\n{"text": \n')
    (tmp_path / "number.jsonl").write_text('"one"\n42\n')
    (tmp_path / "textless.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    (tmp_path / "format.json").write_text('["one", {"text": "two", "format": "pdf"}]')
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "good.txt").write_text("It is. It was.")
    outcome = run("prune", *arguments)
    assert outcome.code == 2
    assert said in one_line(outcome)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", ["COMMAND", "secateur --help"]),
        ("data", ["COMMAND", "secateur data --help"]),
        ("cut", ["cut", "prune"]),
        ("chunk a.txt", ["chunk", "data chunk"]),
        ("prune a.txt", ["--query"]),
        ("prune -q", ["-q"]),
        ("prune -q q --modle x", ["--modle", "secateur prune --help"]),
        ("prune -q q --threshold x", ["--threshold", "x"]),
        ("prune -q q --threshold 1.5", ["--threshold", "1.5", "<= 1"]),
        ("prune -q q --threshold nan", ["--threshold", "nan"]),
        ("prune -q q --top-n 1.5", ["--top-n", "1.5", "integer"]),
        ("prune -q q --backend tpu", ["--backend", "tpu", "openvino"]),
        ("prune -q q --format pdf", ["--format", "pdf", "text"]),
        ("prune-corpus a.jsonl --out b.jsonl -q q --query-column c", ["--query-column", "--query"]),
        ("mcp --port 99999", ["--port", "99999"]),
        ("data ingest --out a", ["SOURCES"]),
        ("data index", ["CHUNKS"]),
        ("data label --in a --out b", ["--base-url"]),
        ("data label --in a --out b --base-url http://localhost", ["--llm"]),
        ("data publish a --out b --shares train", ["--shares", "train"]),
        ("data chunk a --out b --units 0", ['"0" for --units. Input should be greater than or equal to 1. See']),
        ("calibrate secateur-nano-en --data a --check --no-titles", ["--no-titles", "--check"]),
        ("finetune --data a --out b --minutes 0", ["--minutes", "0"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_is_exit_code_2_and_a_line_that_names_the_option(run: Run, command: str, said: list[str]) -> None:
    outcome = run(*command.split())
    assert outcome.code == 2
    line = one_line(outcome)
    assert all(part in line for part in said), line


@pytest.mark.parametrize("command", [["prune", "-q", "q", "--model", "nope", "a.txt"], ["info", "nope"]], ids="-".join)
def test_a_missing_model_is_exit_code_1_and_names_the_shipped_ones(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "a.txt").write_text("It is.")
    outcome = run(*command)
    assert outcome.code == 1
    assert "'nope'" in one_line(outcome)
    assert "secateur-nano-en" in outcome.err


def test_a_directory_that_is_no_model_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    outcome = run("info", str(tmp_path))
    assert outcome.code == 1
    assert "config.json is missing" in one_line(outcome)


# The other commands


def test_version(run: Run) -> None:
    assert run("--version") == Outcome(0, f"secateur {version('secateur')}\n", "")


def test_help_has_four_groups_in_order_and_the_steps_of_the_pipeline(run: Run) -> None:
    outcome = run("--help")
    assert (outcome.code, outcome.err) == (0, "")
    names = [
        "Use",
        "prune",
        "serve",
        "prune-corpus",
        "mcp",
        "info",
        "Train",
        "finetune",
        "train",
        "calibrate",
        "export",
    ]
    names += ["card", "Data", "data ingest", "data chunk", "data queries", "data label", "data publish"]
    names += ["Measure", "eval", "eval rag", "eval rerank", "eval compare"]
    places = [re.search(rf"^(?:╭─|│) {name} ", outcome.out, re.MULTILINE) for name in names]
    starts = [place.start() if place else -1 for place in places]
    assert starts == sorted(starts) and -1 not in starts


def examples() -> dict[str, str]:
    """Return the example of each command."""
    found = {}
    for module in ("use", "train", "data", "measure"):
        for name, text in docstrings(module).items():
            example = re.search(r"^Example: `secateur (.+)`$", text, re.MULTILINE)
            found[name] = example[1] if example else ""
    return found


@pytest.mark.parametrize(("name", "example"), examples().items(), ids=examples())
def test_every_command_has_an_example_that_it_accepts(run: Run, name: str, example: str) -> None:
    words = shlex.split(example)
    path = list(takewhile(lambda word: re.fullmatch("[a-z][a-z-]*", word), words[:2]))
    command = path if words[0] in ("data", "eval") else path[:1]
    assert command[-1:] == [{"evaluate": "eval"}.get(name, name).replace("_", "-")]
    if name != "serve":  # it reads its own arguments
        parse(words)
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert example.split("--")[0].strip() in " ".join(outcome.out.split())


def test_pruning_options_are_those_of_the_table(run: Run, files: list[str], pruner: Pruner) -> None:
    for command, without in (("prune", set()), ("prune-corpus", {"return_units"}), ("mcp", {"return_units"})):
        flags = set(re.findall(r"--[a-z-]+", run(command, "--help").out))
        assert {name for name in option_table() if f"--{name.replace('_', '-')}" not in flags} == without
    options: dict[str, Any] = {"threshold": 1.0, "min_units": 1, "joiner": " ... ", "keep_relevant": False}
    given = ["--threshold=1", "--min-units=1", "--no-keep-relevant"]
    expected = pruner.prune(QUERY, list(TEXTS.values()), **options).text
    assert run("prune", "-q", QUERY, *given, "--joiner= ... ", *files).out == expected + "\n"


STOCK = "name,price,stock\nWidget,10.00,5\nGadget,25.50,3\nGizmo,9.90,0\n"
BY_HAND = ["--threshold", "1", "--no-keep-relevant"]  # nothing is kept by its score


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--always-keep", "Gadget"], [0, 2]),
        (["--always-keep", "Gadget", "--always-keep", "re:^Wid"], [0, 1, 2]),
        (["--always-keep", "Gadget", "--no-keep-structure"], [2]),
        (["--always-keep", "Gadget", "--keep-structure", "--format", "text"], [0, 1, 2, 3]),
        (["--always-keep", "numbers", "--never-keep", "25.50", "--never-keep=G"], [0, 1]),
        (["--head", "1", "--tail", "1"], [0, 3]),
        (["--always-keep=Widget", "--neighbours=1", "--no-keep-structure"], [0, 1, 2]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else "",
)
def test_lists_are_repeated_and_what_is_on_by_default_has_a_negative(
    run: Run, tmp_path: Path, arguments: list[str], lines: list[int]
) -> None:
    (tmp_path / "stock.csv").write_text(STOCK)
    outcome = run("prune", "-q", QUERY, *BY_HAND, *arguments, "stock.csv")
    rows = STOCK.splitlines()
    assert outcome == Outcome(0, "".join(f"{rows[line]}\n" for line in lines), "")


def test_help_describes_each_format(run: Run) -> None:
    shown = " ".join(run("prune", "--help").out.replace("│", " ").split())
    for name, one in FORMATS.items():
        assert f"{name}: {one.description.replace('`', '')}" in shown
    assert "[choices: auto, text, markdown, html, lines, json] [default: auto]" in shown


def test_info_says_what_the_model_and_the_installation_hold(run: Run, pruner: Pruner) -> None:
    outcome = run("info")
    assert (outcome.code, outcome.err) == (0, "")
    content = json.loads(outcome.out)
    assert (content["secateur"], content["model"]) == (version("secateur"), pruner.config.name)
    assert Path(content["directory"]).is_dir()
    assert "onnx/model_int8.onnx" in content["files"]
    assert (content["window"], content["threshold"]) == (pruner.config.window, pruner.config.threshold)
    assert content["target_recalls"] == sorted(pruner.calibration.thresholds if pruner.calibration else ())
    assert content["backends"]["openvino"] == (find_spec("openvino") is not None)
    assert content["formats"] == {name: one.description for name, one in FORMATS.items()}


@pytest.mark.slow
def test_serve_says_that_the_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = spawn("serve", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert b"address already in use" in done.stderr
    assert str(port).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_serve_refuses_a_port_that_cannot_be(run: Run, port: str) -> None:
    outcome = run("serve", f"--port={port}")
    assert outcome.code == 2
    assert f"--port: {port} is out of range" in one_line(outcome)


def test_serve_with_a_missing_model_is_exit_code_1(run: Run) -> None:
    outcome = run("serve", "--port", "0", "--model", "nope")
    assert outcome.code == 1
    assert "'nope'" in one_line(outcome)


NO_TRAINING = any(find_spec(name) is None for name in ("torch", "transformers", "accelerate", "yaml", "onnx", "nncf"))


@pytest.mark.skipif(NO_TRAINING, reason="needs the train extra")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "train.yaml: cannot be read"),
        ("name: [", "train.yaml: not valid YAML"),
        ("name: a\nlayers: 3\n", "layers"),
        ("name: a\n", "base"),
        ("", "train.yaml"),
        ("name: 3\nbase: b\nout: o\ndata: {train: d}\n", "name"),
    ],
    ids=["missing", "not YAML", "unknown key", "missing key", "empty", "wrong type"],
)
def test_train_with_a_bad_configuration_says_so_in_one_line(
    run: Run, tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "train.yaml").write_text(content)
    outcome = run("train", "train.yaml")
    assert outcome.code == 1
    assert said in one_line(outcome)


def test_data_check_says_what_is_wrong_and_fails(run: Run, tmp_path: Path) -> None:
    fine = {"query": "q", "passages": [{"text": "One. Two.", "relevant_spans": [[0, 4]]}, {"text": "Three."}]}
    (tmp_path / "data.jsonl").write_text(json.dumps(fine) + "\n")
    outcome = run("data", "check", "data.jsonl")
    assert outcome.code == 0
    assert outcome.out.endswith("the data can be used for training\n")
    (tmp_path / "data.jsonl").write_text(json.dumps(fine) + "\n{\n")
    outcome = run("data", "check", "data.jsonl")
    assert outcome.code == 1
    assert "broken line (1)" in outcome.out
    assert "line 2" in outcome.out
    assert "data.jsonl" in outcome.err


def test_calibrate_with_too_little_data_says_so_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    row = {"query": "Who won?", "passages": [{"text": "Anna won. It rained.", "relevant_spans": [[0, 9]]}]}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    outcome = run("calibrate", "secateur-nano-en", "--data", "data.jsonl", "--out", "calibration.json")
    assert outcome.code == 1
    assert "give at least 50" in outcome.err
    assert not (tmp_path / "calibration.json").exists()
