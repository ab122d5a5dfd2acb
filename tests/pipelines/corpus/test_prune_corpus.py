"""A corpus pruned by the real model: in every form, killed and resumed, on Ray, and with everything wrong with it."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from secateur.labelled import text_files
from secateur.models.errors import DataError, InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.pipelines.corpus.pruning import Outcome
from secateur.pipelines.corpus.rows import Columns, open_corpus, write
from secateur.pipelines.corpus.run import CorpusOptions, prune_corpus

TOWER = "The tower stands in Paris. It was finished in March 1889. Many people visit it every year."
BREAD = "Bread is baked from flour. It needs salt and water. The oven must be hot."
QUERIES = ["When was the tower finished?", "What is bread made from?", "Where does the tower stand?"]


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {"n": n, "query": QUERIES[n % 3], "passages": [{"text": TOWER, "title": "Tower"}, BREAD * (1 + n % 4)]}
        for n in range(count)
    ]


def _lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.is_dir():
        return list(datasets.load_from_disk(str(path)))
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.decode().splitlines()]


@pytest.fixture(scope="module")
def pruner() -> Pruner:
    return Pruner.load()


def _save(form: str, path: Path, rows: list[dict[str, Any]]) -> Path:
    if form == "jsonl":
        return _lines(path / "in.jsonl", rows)
    if form == "jsonl.gz":
        (path / "in.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        return path / "in.jsonl.gz"
    if form == "parquet":
        parquet.write_table(arrow.Table.from_pylist(rows), path / "in.parquet")
        return path / "in.parquet"
    datasets.Dataset.from_list(rows).save_to_disk(str(path / "in"))
    return path / "in"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["out.jsonl", "out.jsonl.gz", "out.parquet", "out"])
@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet", "dataset"])
def test_every_form_into_every_form(form: str, target: str, tmp_path: Path, pruner: Pruner) -> None:
    rows: list[dict[str, Any]] = [
        {"n": n, "question": QUERIES[n % 3], "text": text} for n, text in enumerate([TOWER, BREAD, TOWER, TOWER])
    ]
    out = tmp_path / "made" / target
    report = prune_corpus(_save(form, tmp_path, rows), out, CorpusOptions(block=3))

    assert (report.rows, report.passages, report.broken, report.earlier) == (4, 4, 0, 0)
    for row, found in zip(rows, _read(out), strict=True):
        expected = pruner.prune(row["question"], [row["text"]]).results[0]
        assert {name: found[name] for name in row} == row
        pruned = found["pruned"]
        assert pruned.keys() == {"text", "score", "spans", "line_spans", "format", "kept_units", "total_units"}
        assert pruned["text"] == expected.text
        assert pruned["score"] == pytest.approx(expected.score, abs=1e-3)
        assert [tuple(span) for span in pruned["spans"]] == list(expected.spans)
        assert [tuple(span) for span in pruned["line_spans"]] == list(expected.line_spans)
        assert pruned["format"] == expected.format
        assert (pruned["kept_units"], pruned["total_units"]) == (expected.kept_units, expected.total_units)
    assert [path.name for path in out.parent.iterdir()] == [target], "nothing else is left there"


@pytest.mark.slow
def test_lists_of_passages_are_ranked_and_point_to_where_they_stood(tmp_path: Path, pruner: Pruner) -> None:
    rows = _rows(5)
    out = tmp_path / "out.jsonl"
    prune_corpus(_lines(tmp_path / "in.jsonl", rows), out, CorpusOptions(pruning=PruneOptions(target_recall=0.9)))
    for row, found in zip(rows, _read(out), strict=True):
        expected = pruner.prune(row["query"], row["passages"], target_recall=0.9).results
        assert [(one["index"], one["text"]) for one in found["pruned"]] == [(one.index, one.text) for one in expected]


def test_rows_with_warnings_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    thai = "ประเทศไทยเป็นประเทศในเอเชีย"
    rows = [{"query": QUERIES[0], "text": text} for text in (TOWER, thai, BREAD, thai)]
    report = prune_corpus(_lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    assert report.lines()[1] == (
        "2 rows have warnings: row 2: passages[0].text: the model cannot read 100% of the text"
        " | row 4: passages[0].text: the model cannot read 100% of the text"
    )


def test_scores_only(tmp_path: Path, pruner: Pruner) -> None:
    options = CorpusOptions(score_only=True, query=QUERIES[0], columns=Columns(passages="body"), column="scores")
    out = tmp_path / "out.parquet"
    prune_corpus(_lines(tmp_path / "in.jsonl", [{"body": TOWER}, {"body": BREAD}]), out, options)
    for row in _read(out):
        units = pruner.prune(QUERIES[0], [row["body"]], return_units=True).results[0].units
        assert units is not None
        assert row["scores"].keys() == {"score", "format", "units"}
        assert row["scores"]["units"] == [
            {"start": unit.start, "end": unit.end, "kind": unit.kind, "score": pytest.approx(unit.score, abs=1e-3)}
            for unit in units
        ]


def test_titles_are_read_from_their_column(tmp_path: Path, pruner: Pruner) -> None:
    rows = [{"query": QUERIES[0], "text": "It was finished in March 1889. It is red.", "name": "The tower"}]
    out = tmp_path / "out.jsonl"
    prune_corpus(_lines(tmp_path / "in.jsonl", rows), out, CorpusOptions(columns=Columns(title="name")))
    titled = pruner.prune(QUERIES[0], [{"text": rows[0]["text"], "title": "The tower"}]).results[0]
    assert _read(out)[0]["pruned"]["score"] == pytest.approx(titled.score, abs=1e-3)


STOCK = "name,price,stock\nWidget,10.00,5\nGadget,25.50,3\n"


@pytest.mark.parametrize("target", ["out.jsonl", "out.parquet"])
def test_formats_are_read_from_their_column_or_the_passage(target: str, tmp_path: Path) -> None:
    rows = [{"query": QUERIES[0], "text": STOCK, "kind": kind} for kind in ("lines", "text", None)]
    pruning = PruneOptions(threshold=1, keep_relevant=False, always_keep=("Gadget",))
    options = CorpusOptions(columns=Columns(format="kind"), pruning=pruning)
    prune_corpus(_lines(tmp_path / "in.jsonl", rows), tmp_path / target, options)
    found = [row["pruned"] for row in _read(tmp_path / target)]
    assert [one["format"] for one in found] == ["lines", "text", "lines"]
    assert [one["text"] for one in found[::2]] == ["name,price,stock\nGadget,25.50,3"] * 2
    assert [one["line_spans"] for one in found[::2]] == [[[1, 1], [3, 3]]] * 2

    listed = [{"query": QUERIES[0], "passages": [{"text": STOCK, "format": kind} for kind in ("json", None)]}]
    prune_corpus(_lines(tmp_path / "in.jsonl", listed), tmp_path / target, CorpusOptions(pruning=pruning))
    (row,) = _read(tmp_path / target)
    assert {one["index"]: one["format"] for one in row["pruned"]} == {0: "json", 1: "lines"}


def test_a_format_that_is_not_known_breaks_its_row(tmp_path: Path) -> None:
    rows = [{"query": QUERIES[0], "text": TOWER, "kind": kind} for kind in ("text", "pdf", "textt")]
    corpus, options = _lines(tmp_path / "in.jsonl", rows), CorpusOptions(columns=Columns(format="kind"))
    with pytest.raises(DataError, match=re.escape("row 2: passages[0].format: unknown format 'pdf'")):
        prune_corpus(corpus, tmp_path / "out.jsonl", options)
    with pytest.raises(InputError, match=r"^--format-column: .* has no column 'sort'"):
        prune_corpus(corpus, tmp_path / "out.jsonl", CorpusOptions(columns=Columns(format="sort")))


def test_what_only_datasets_know_stays(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "query": datasets.Value("string"),
            "text": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["a", "b"]),
        }
    )
    rows = [{"query": QUERIES[0], "text": TOWER, "kind": "b"}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "in"))
    prune_corpus(tmp_path / "in", tmp_path / "out")
    assert datasets.load_from_disk(str(tmp_path / "out")).features["kind"].names == ["a", "b"]


def _command(corpus: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "secateur", "prune-corpus", str(corpus), "--out", str(out), "--block", "4", *more]


def _done(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def _kill_after(command: list[str], journal: Path, rows: int) -> None:
    """Run a command and kill it once it has done so many rows."""
    process = subprocess.Popen(command, cwd=journal.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while _done(journal) < rows and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_twice_the_output_is_that_of_an_unbroken_run(tmp_path: Path) -> None:
    corpus = _lines(tmp_path / "in.jsonl", _rows(80))
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    prune_corpus(corpus, whole, CorpusOptions(block=4))
    journal = tmp_path / "broken.jsonl.journal"
    for rows in (1, 40):
        _kill_after(_command(corpus, broken), journal, rows)
        assert not broken.exists()
        with journal.open("ab") as file:
            file.write(b'{"pruned": [{"index": 0, "te')  # what a kill in the middle of a line leaves
    run = subprocess.run(_command(corpus, broken), cwd=tmp_path, capture_output=True, text=True, check=True)
    earlier = re.search(r"(\d+) rows were finished by an earlier run", run.stdout)
    assert earlier is not None and 40 <= int(earlier[1]) < 80
    assert broken.read_bytes() == whole.read_bytes()
    assert not journal.exists()


# Ray's own time limits, which a busy machine exceeds.
RAY_PATIENCE = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_gcs_server_port_wait_time_s": "600",
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_health_check_failure_threshold": "60",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_register_timeout_seconds": "600",
}


@pytest.mark.slow
def test_on_ray_the_output_is_the_same(tmp_path: Path) -> None:
    corpus = _lines(tmp_path / "in.jsonl", _rows(8))
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    prune_corpus(corpus, here, CorpusOptions(block=4))
    for _ in range(5):
        run = subprocess.run(
            _command(corpus, there, "--ray"),
            cwd=tmp_path,
            env=os.environ | RAY_PATIENCE,
            capture_output=True,
            text=True,
        )
        if not re.search("timed out during startup|no cluster could be", run.stderr):  # a limit that cannot be set
            break
    assert run.returncode == 0, run.stderr
    assert there.read_bytes() == here.read_bytes()


@pytest.mark.slow
def test_a_ray_head_that_is_not_there_is_said(tmp_path: Path) -> None:
    corpus = _lines(tmp_path / "in.jsonl", _rows(2))
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}
    run = subprocess.run(
        _command(corpus, tmp_path / "out.jsonl", "--ray"), cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert run.returncode == 1
    assert "ray: no head answers at RAY_ADDRESS '127.0.0.1:1'" in run.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    rows = [*_rows(2), {"n": 2, "query": None, "passages": [TOWER]}, {"n": 3, "query": QUERIES[0], "passages": [7]}]
    return _lines(tmp_path / "in.jsonl", [*rows, *_rows(1)])


def test_broken_rows_stop_it_before_anything_runs(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=re.escape("2 of 5 rows are broken (row 3: query: None is not a string")
    ) as error:
        prune_corpus(broken, tmp_path / "out.jsonl")
    assert "row 4: passages[0]" in str(error.value)
    assert list(tmp_path.iterdir()) == [broken]


@pytest.mark.parametrize("target", ["out.jsonl", "out.parquet"])
def test_broken_rows_can_be_kept(broken: Path, target: str, tmp_path: Path) -> None:
    if target == "out.parquet":  # which cannot hold numbers beside texts
        rows = [*_rows(2), {"n": 2, "query": None, "passages": []}, {"n": 3, "query": "", "passages": []}, *_rows(1)]
        _lines(broken, [row | {"passages": [BREAD] * len(row["passages"])} for row in rows])
    report = prune_corpus(broken, tmp_path / target, CorpusOptions(keep_broken=True))
    assert report.broken == 2
    found = _read(tmp_path / target)
    assert [row["pruned"] is None for row in found] == [False, False, True, True, False]
    assert [bool(row["pruned_error"]) for row in found] == [False, False, True, True, False]


def test_a_query_that_is_too_long_stops_it_and_what_was_done_stays(tmp_path: Path) -> None:
    rows = [{"query": QUERIES[0], "text": TOWER}] * 4 + [{"query": "why " * 600, "text": TOWER}]
    corpus, out = _lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"in\.jsonl, row 5: query: .*or give --keep-broken"):
        prune_corpus(corpus, out, CorpusOptions(block=2))
    report = prune_corpus(corpus, out, CorpusOptions(block=2, keep_broken=True))
    assert (report.earlier, report.broken) == (4, 1)
    assert "query" in _read(out)[4]["pruned_error"]


@pytest.mark.parametrize(
    ("rows", "options", "error", "said"),
    [
        ([{"q": "a", "text": "b"}], {}, InputError, "none of the columns query, question; it has q, text"),
        ([{"query": "a", "body": "b"}], {}, InputError, "--passages-column"),
        ([{"query": "a", "text": "b"}], {"columns": Columns(query="ask")}, InputError, "no column 'ask'"),
        ([{"query": "a", "text": "b", "pruned": 1}], {}, InputError, "has a column 'pruned' already"),
        ([], {}, InputError, "it has no rows"),
        (
            [{"query": "", "text": "b"}],
            {"keep_broken": True},
            DataError,
            "no row can be pruned (row 1: query: is empty",
        ),
        (["a"], {}, DataError, "line 1: is not an object"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused(
    rows: list[Any], options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    corpus = _lines(tmp_path / "in.jsonl", rows)
    with pytest.raises(error, match=re.escape(said)):
        prune_corpus(corpus, tmp_path / "out.jsonl", CorpusOptions(**options))
    assert list(tmp_path.iterdir()) == [corpus]


def test_texts_beside_lists_fit_json_lines_only(tmp_path: Path) -> None:
    rows = [{"query": QUERIES[0], "passages": TOWER}, {"query": QUERIES[0], "passages": [TOWER]}]
    corpus = _lines(tmp_path / "in.jsonl", rows)
    with pytest.raises(DataError, match="which only JSON lines can hold"):
        prune_corpus(corpus, tmp_path / "out.parquet")
    prune_corpus(corpus, tmp_path / "out.jsonl")
    one, many = (row["pruned"] for row in _read(tmp_path / "out.jsonl"))
    assert many == [{"index": 0, **one}]


def test_what_json_cannot_hold_is_said(tmp_path: Path) -> None:
    table = arrow.Table.from_pylist([{"query": QUERIES[0], "text": TOWER, "day": datetime.date(2020, 1, 1)}])
    parquet.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"JSON cannot hold all columns .*; write \.parquet"):
        prune_corpus(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    report = prune_corpus(tmp_path / "in.parquet", tmp_path / "out.jsonl.parquet")
    assert report.rows == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.jsonl", b'{"query": "a"\n', "line 1: is not JSON"),
        ("in.jsonl", b"\xff\xfe", "is UTF-16, not UTF-8"),
        ("in.jsonl", b"caf\xe9", "line 1: byte 3"),
        ("in.jsonl.gz", b"no gzip", "cannot be read"),
        ("in.parquet", b"no Parquet", "cannot be read"),
        ("in.csv", b"a,b", "is neither .jsonl, .jsonl.gz nor .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{re.escape(name)}.*{re.escape(said)}"):
        prune_corpus(tmp_path / name, tmp_path / "out.jsonl")


def test_what_is_no_file_or_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "in.jsonl")
    with pytest.raises(DataError, match=r"in\.jsonl"):
        prune_corpus(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    monkeypatch.setattr(text_files, "_ALLOWED", 1 << 20)
    row = {"query": QUERIES[0], "text": "x" * (1 << 22)}
    parquet.write_table(arrow.Table.from_pylist([row]), tmp_path / "in.parquet", compression="zstd")
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    for name in ("in.parquet", "in.jsonl.gz"):
        with pytest.raises(DataError, match=rf"{re.escape(name)}: unpacks to"):
            prune_corpus(tmp_path / name, tmp_path / "out.jsonl")


def test_splits_and_missing_corpora_are_said(tmp_path: Path) -> None:
    split = datasets.Dataset.from_list([{"query": QUERIES[0], "text": TOWER}])
    datasets.DatasetDict(train=split, test=split).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataError, match="has the splits train, test; give the directory of one of them"):
        prune_corpus(tmp_path / "both", tmp_path / "out")
    assert prune_corpus(tmp_path / "both" / "test", tmp_path / "out").rows == 1
    with pytest.raises(DataError, match="no such file or directory"):
        prune_corpus(tmp_path / "nowhere.jsonl", tmp_path / "out")
    with pytest.raises(InputError, match=r"--out: out\.csv has an unknown ending"):
        prune_corpus(tmp_path / "both" / "test", tmp_path / "out.csv")


def test_another_run_s_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    rows = [{"query": QUERIES[0], "text": TOWER}] * 3 + [{"query": "why " * 600, "text": TOWER}]
    corpus, out = _lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="row 4"):
        prune_corpus(corpus, out, CorpusOptions(block=2))
    other = CorpusOptions(block=2, pruning=PruneOptions(threshold=0.5), keep_broken=True)
    with pytest.raises(DataError, match="belongs to a run with another options; finish that one"):
        prune_corpus(corpus, out, other)
    _lines(corpus, rows[:3])
    with pytest.raises(DataError, match="belongs to a run with another corpus"):
        prune_corpus(corpus, out, CorpusOptions(block=2))


@pytest.mark.slow
def test_two_runs_do_not_write_to_one_journal(tmp_path: Path) -> None:
    corpus = _lines(tmp_path / "in.jsonl", _rows(400))
    journal = tmp_path / "out.jsonl.journal"
    process = subprocess.Popen(_command(corpus, tmp_path / "out.jsonl"), cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        while _done(journal) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(DataError, match="another run is writing to it"):
            prune_corpus(corpus, tmp_path / "out.jsonl", CorpusOptions(block=4))
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_said_and_what_was_written_is_gone_on_with(tmp_path: Path) -> None:
    corpus, out = _lines(tmp_path / "in.jsonl", _rows(30)), tmp_path / "out.jsonl"
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); "
    start = "runpy.run_module('secateur', run_name='__main__')"
    command = [sys.executable, "-c", limit + start, *_command(corpus, out)[3:]]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert "out.jsonl.journal: cannot be written" in run.stderr
    assert "Traceback" not in run.stderr
    assert not out.exists()
    report = prune_corpus(corpus, out, CorpusOptions(block=4))
    assert 0 < report.earlier < 30
    assert len(_read(out)) == 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT of POSIX")
def test_interrupted_it_ends_in_a_line_and_is_gone_on_with(tmp_path: Path) -> None:
    """A thread of the runtime that came back to the interpreter at its end would abort it, in two runs of five."""
    corpus, out = _lines(tmp_path / "in.jsonl", _rows(4000)), tmp_path / "out.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    for rows in (1, 40):
        process = subprocess.Popen(_command(corpus, out), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while _done(journal) < rows:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 130, said
        last = said.splitlines()[-1]
        assert last.startswith("secateur: error: interrupted; ")
        assert "Traceback" not in said
        assert _done(journal) >= rows


@pytest.mark.parametrize(
    "line",
    [b'{"pruned": [{"index": 0, "te\n', b"\x00\x00\n", b"[]\n", b'{"pruned": 3}\n', b"[" * 100_000 + b"\n", b"\xff\n"],
    ids=["cut", "zeros", "a list", "a number", "deep", "not UTF-8"],
)
@pytest.mark.parametrize("number", [1, 3])
def test_a_broken_line_of_the_journal_is_named(tmp_path: Path, line: bytes, number: int) -> None:
    rows = [{"query": QUERIES[0], "text": TOWER}] * 4 + [{"query": "why " * 600, "text": TOWER}]
    corpus, out = _lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="row 5"):
        prune_corpus(corpus, out, CorpusOptions(block=2))
    journal = tmp_path / "out.jsonl.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line
    journal.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"out\.jsonl\.journal.*(delete|belongs to a run with another)") as caught:
        prune_corpus(corpus, out, CorpusOptions(block=2))
    if number > 1:
        assert f"line {number}" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert journal.read_bytes() == b"".join(lines)  # nothing that was done is lost


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of POSIX")
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet", "out"])
@pytest.mark.parametrize("limit", [500, 20_000])
def test_an_output_for_which_there_is_no_room_is_said(tmp_path: Path, name: str, limit: int) -> None:
    """Repeated rows are small as Parquet, but not in the files that `datasets` writes on the way."""
    import resource

    corpus = open_corpus(_lines(tmp_path / "in.jsonl", [{"text": TOWER}] * 2000))
    outcomes = [Outcome({"text": "x", "score": 0.5, "spans": [[0, 1]], "kept_units": 1, "total_units": 2})] * 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "made" / name
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write(out, corpus, outcomes, "pruned", errors=False, single=True, score_only=False)
        failed = None
    except DataError as error:
        failed = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    if failed is None:
        assert (limit, name) in ((20_000, "out.jsonl.gz"), (20_000, "out.parquet"))
    else:
        assert name in failed and "File too large" in failed
        assert list(out.parent.iterdir()) == []
