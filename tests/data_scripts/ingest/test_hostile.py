"""Untrusted sources: nothing outside them is read, nothing is endless, and a bad one never stops the rest."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from secateur.cli import main
from secateur.data_scripts.ingest.run import IngestOptions, IngestReport, ingest
from secateur.data_scripts.ingest.sources import Found, LeftOut, find
from secateur.data_scripts.ingest.texts import markdown_title, read_file
from secateur.data_scripts.records import Document, read_records
from secateur.models.errors import DataError, InputError, SecateurError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "z.txt").write_text("The last one is good.")
    return root


def run(folder: Path, **options: Any) -> tuple[list[str], IngestReport]:
    """Ingest a folder; the last of its files, at least, is read whatever precedes it."""
    out = folder.parent / "out.jsonl"
    report = ingest([folder], out, options=IngestOptions(**options))
    documents = {document.id: document.text for document in read_records(out, Document)}
    assert documents.pop("z.txt") == "The last one is good."
    return list(documents), report


def test_links_out_of_the_folder_pipes_and_devices_are_left_out(folder: Path) -> None:
    outside = folder.parent / "secret.txt"
    outside.write_text("A secret.")
    (folder / "inside.txt").write_text("Inside.")
    (folder / "a.txt").symlink_to(outside)
    (folder / "b.md").symlink_to("/dev/zero")
    (folder / "c.jsonl").symlink_to("/etc/passwd")
    (folder / "d.txt").symlink_to("d.txt")
    (folder / "e.txt").symlink_to("gone.txt")
    (folder / "f.txt").symlink_to("inside.txt")
    (folder / "g").symlink_to(folder.parent)
    for name in ("h.txt", "h.jsonl.gz", "h.parquet", "h.pdf", "h.html", "h.csv", "h"):
        os.mkfifo(folder / name)
    ids, report = run(folder)
    assert ids == ["f.txt"]
    assert report.left_out.counts == {
        "link out of the directory": 2,
        "not a regular file": 8,
        "cannot be read": 2,
        "link to a directory": 1,
        "duplicate": 1,
    }
    assert (report.files, report.problems) == (16, 13)


def test_special_files_inside_beir_and_datasets_are_left_out(folder: Path) -> None:
    from datasets import Dataset

    (folder.parent / "corpus.jsonl").write_text('{"_id": "1", "text": "Outside."}')
    (folder / "beir").mkdir()
    (folder / "beir" / "queries.jsonl").write_text("")
    (folder / "beir" / "corpus.jsonl").symlink_to(folder.parent / "corpus.jsonl")
    rows = Dataset.from_list([{"id": "1", "text": "A row."}])
    for name in ("pipe", "absolute", "broken"):
        rows.save_to_disk(str(folder / name))
    os.mkfifo(folder / "pipe" / "more.arrow")
    state = json.loads((folder / "absolute" / "state.json").read_text())
    state["_data_files"] = [{"filename": str(folder / "pipe" / "data-00000-of-00001.arrow")}]
    (folder / "absolute" / "state.json").write_text(json.dumps(state))
    (folder / "broken" / "state.json").write_text("[")
    ids, report = run(folder)
    assert ids == []
    assert report.left_out.counts == {"link out of the directory": 2, "not a regular file": 1, "cannot be read": 1}


@pytest.mark.slow
def test_a_pipe_is_read_where_it_is_named(folder: Path) -> None:
    out = folder.parent / "out.jsonl"
    command = f"{sys.executable} -m secateur data ingest <(echo 'From a pipe.') --out {out}"
    subprocess.run(["bash", "-c", command], check=True, timeout=120)
    assert [document.text for document in read_records(out, Document)] == ["From a pipe.\n"]
    with pytest.raises(DataError, match="is a device or a socket"):
        ingest([Path("/dev/zero")], out)


def test_odd_names_are_read_and_shown(folder: Path) -> None:
    (folder / "page.md").mkdir()
    (folder / "page.md" / "a.txt").write_text("In a directory.")
    for number, name in enumerate((b"caf\xe9.txt", b"caf\xea.txt")):
        (folder / os.fsdecode(name)).write_text(f"Number {number}.")
    (folder / "x\x1b[31m\n.pdf").write_bytes(b"no PDF")
    ids, report = run(folder)
    assert ids == ["caf\ufffd.txt", "caf\ufffd.txt~2", "page.md/a.txt"]
    assert report.left_out.counts == {"broken PDF": 1}
    assert "x\ufffd[31m .pdf" in report.left_out.places["broken PDF"][0]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs rm, and paths of 4096 bytes")
def test_very_deep_directories_are_walked(folder: Path) -> None:
    deep = folder / "a"
    here = Path.cwd()
    try:
        deep.mkdir()
        os.chdir(deep)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("x.txt").write_text("Deep.")
        os.chdir(here)
        ids, _ = run(folder)
        assert [len(id.split("/")) for id in ids] == [1502]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(deep)], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_reported(folder: Path) -> None:
    (folder / "a.txt").write_text("Hidden.")
    (folder / "a.txt").chmod(0)
    (folder / "b").mkdir(0)
    try:
        ids, report = run(folder)
    finally:
        (folder / "b").chmod(0o700)
    assert (ids, report.left_out.counts) == ([], {"cannot be read": 2})


def test_a_file_that_vanishes_or_becomes_a_pipe_is_reported(folder: Path) -> None:
    path = folder / "a.txt"
    for kind in ("text", "pdf", "unknown"):
        left = read_file(Found(path, "a.txt", kind))
        assert isinstance(left, LeftOut)
        assert left.reason == "cannot be read"
    os.mkfifo(path)
    left = read_file(Found(path, "a.txt", "text"))
    assert isinstance(left, LeftOut)
    assert "not a regular file" in left.detail


def broken(root: Path) -> dict[str, str]:
    """Write a broken file of each kind; return the reason for which each is to be left out."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    days = pa.array([0, 2**31 - 1], pa.date32())
    parquet.write_table(pa.table({"text": ["Good row.", "Bad row."], "day": days}), root / "day.parquet")
    files: dict[str, tuple[bytes, str]] = {
        "charset.html": (b"<meta charset=undefined>caf\xe9", "wrong encoding"),
        "deep.jsonl": (b'{"text": "a", "m": ' + b"[" * 600 + b"]" * 600 + b"}", "nested too deep"),
        "deeper.jsonl": (b"[" * 100_000, "broken line"),
        "wide.csv": (b"id,text\n1,a,b\n", "broken line"),
        "open.csv": (b'id,text\n1,"a', "cannot be read"),
        "latin.csv": (b"id,text\n1,caf\xe9", "cannot be read"),
        "none.csv": (b"n\n1\n", "no such column"),
        "a.parquet": (b"PAR1", "cannot be read"),
        "cut.jsonl.gz": (gzip.compress(b'{"text": ' + bytes(range(128, 228)) + b"}")[:-20], "cannot be read"),
        "utf16.jsonl": ('{"text": "a"}'.encode("utf-16"), "cannot be read"),
        "a.pdf": (b"%PDF-1.7", "broken PDF"),
        "laughs.md": (LAUGHS.encode(), "nested too deep"),
        "deep.md": (b"---\na: " + b"[" * 5000 + b"]" * 5000 + b"\n---\nText.", "nested too deep"),
    }
    for name, (data, _) in files.items():
        (root / name).write_bytes(data)
    return {name: reason for name, (_, reason) in files.items()} | {"day.parquet": "broken row"}


LAUGHS = (
    "---\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "---\nText.\n"
)


@pytest.mark.slow
def test_broken_files_are_counted_and_the_others_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = broken(folder)
    ids, report = run(folder)
    assert ids == ["day.parquet#1"]
    expected: dict[str, int] = {}
    for reason in reasons.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert report.left_out.counts == expected
    assert report.problems == len(reasons)
    for name, reason in reasons.items():
        if expected[reason] <= 5:
            assert any(name in place for place in report.left_out.places[reason]), name
    out = folder.parent / "strict.jsonl"
    assert main(["data", "ingest", str(folder), "--out", str(out)]) == 0
    assert main(["data", "ingest", str(folder), "--out", str(out.with_name("none")), "--strict"]) == 1
    assert not out.with_name("none").exists()
    assert "a.parquet" in capsys.readouterr().err


def test_expected_omissions_are_no_problem(folder: Path) -> None:
    (folder / "a.txt").write_text(" ")
    (folder / "b.bin").write_bytes(b"\0")
    (folder / "c.txt").write_text("The last one is good.")
    out = folder.parent / "out.jsonl"
    report = ingest([folder], out, options=IngestOptions(strict=True))
    assert (report.documents, report.problems, report.left_out.counts.total()) == (1, 0, 3)


def test_what_unpacks_to_too_much_is_left_out(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Before."}\n' + (b" " * 63 + b"\n") * (1 << 16)))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "' + b"x" * (1 << 21)))
    parquet.write_table(
        pa.table({"text": ["x" * 999_999 + str(n) for n in range(4)]}), folder / "c.parquet", compression="zstd"
    )
    (folder / "d.txt").write_text("a" * ((1 << 20) + 1))
    (folder / "e.jsonl").write_text('{"text": "After."}\n' + json.dumps({"text": "a" * (1 << 20)}))
    ids, report = run(folder, max_document_mib=1, max_unpacked_mib=3)
    assert ids == ["a.jsonl.gz#1", "e.jsonl#1"]
    assert report.left_out.counts == {"cannot be read": 4, "too large": 1}
    for name, words in (("a.jsonl.gz", "unpacks to more than 3 MiB"), ("b.jsonl.gz", "longer than 1 MiB")):
        assert any(name in place and words in place for place in report.left_out.places["cannot be read"])
    with pytest.raises(InputError, match="max_document_mib: 0"):
        IngestOptions(max_document_mib=0)


@pytest.mark.slow
def test_values_stored_once_do_not_fill_memory(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    same = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["x" * (1 << 20)]))
    parquet.write_table(
        pa.table({"text": same}), folder / "a.parquet", compression="zstd", dictionary_pagesize_limit=1 << 30
    )
    ids, report = run(folder, near_duplicates=0)
    assert ids == ["a.parquet#1"]
    assert report.left_out.counts == {"duplicate": 299}


NETWORK = """
import sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        if not (event == "socket.connect" and isinstance(arguments[1], str)):
            print("NETWORK", event, arguments, file=sys.stderr, flush=True)
            raise OSError("no network")
sys.addaudithook(hook)
from secateur.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_nothing_is_fetched(folder: Path) -> None:
    from datasets import Audio, Dataset, Features, Image, List, Value
    from pypdf import PdfWriter
    from pypdf.annotations import Link

    url = "http://127.0.0.1:9/x.png"
    page = f'<link rel=stylesheet href="{url}"><img src="{url}"><iframe src="{url}"></iframe><p>Page text.'
    (folder / "a.html").write_text(page)
    dtd = f'<?xml version="1.0"?><!DOCTYPE html SYSTEM "{url}" [<!ENTITY x SYSTEM "{url}"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    (folder / "b.xhtml").write_text(f"{dtd}<html><body><p>External &x; &f;</p></body></html>")
    (folder / "c.md").write_text(f"---\nimage: {url}\nrun: !!python/object/apply:os.getcwd []\n---\n![Picture]({url})")
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_annotation(0, Link(rect=(0, 0, 9, 9), url=url))
    writer.write(folder / "d.pdf")
    (folder / "e.jsonl").write_text(json.dumps({"text": "Row text.", "image": url}))
    (folder / "f.csv").write_text(f"text,image\nField text.,{url}\n")
    Dataset.from_dict({"text": ["Dataset text."]}).to_parquet(str(folder / "plain.parquet"))
    stored = {"bytes": Value("binary"), "path": Value("string")}
    value = {"bytes": None, "path": url}
    media: dict[str, tuple[Any, Any, Any]] = {
        "image": (Image(), stored, value),
        "images": (List(Image()), List(stored), [value]),
        "sound": (Audio(), stored, value),
        "deep": ({"a": List({"b": Image()})}, {"a": List({"b": stored})}, {"a": [{"b": value}]}),
    }
    for name, (feature, plain, content) in media.items():
        # Saving with the feature would fetch the picture; it is declared afterwards, as an attacker would.
        features = Features({"text": Value("string"), "media": plain})
        rows = Dataset.from_dict({"text": ["Dataset text."], "media": [content]}, features=features)
        rows.save_to_disk(str(folder / name))
        info = json.loads((folder / name / "dataset_info.json").read_text())
        info["features"] = Features({"text": Value("string"), "media": feature}).to_dict()
        (folder / name / "dataset_info.json").write_text(json.dumps(info))
    out = folder.parent / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", NETWORK, "data", "ingest", str(folder), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "NETWORK" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    texts = {document.id: document.text for document in read_records(out, Document)}
    assert {"a.html", "b.xhtml", "c.md", "e.jsonl#1", "f.csv#1", "plain.parquet#1", "z.txt"} == set(texts)
    assert "root:" not in texts["b.xhtml"]
    for name in media:
        assert f"{folder / name}: the column 'media' has the feature" in done.stdout
    assert "remove_columns('media')" in done.stdout


N = 20_000


@pytest.mark.parametrize(
    "text",
    [
        "> " * N + "x",
        "".join(" " * n + "- x\n" for n in range(1000)),
        "# a" + " " * N + "b" + " #" * N + "x",
        "[" * N,
        "#" * N,
    ],
)
def test_nested_markdown_takes_time_in_proportion(folder: Path, text: str) -> None:
    (folder / "a.md").write_text(text)
    started = time.process_time()
    markdown_title(text)
    ids, _ = run(folder)
    assert ids == ["a.md"]
    assert time.process_time() - started < 10


def seeds(root: Path) -> dict[str, bytes]:
    """Return a small document of each format."""
    import pyarrow as pa
    import pyarrow.parquet as parquet
    from pypdf import PdfWriter

    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_metadata({"/Title": "Manual"})
    writer.write(root / "seed.pdf")
    rows = [{"id": "1", "text": "One.", "day": date(2020, 1, 1), "tags": ["a", "b"]}]
    parquet.write_table(pa.Table.from_pylist(rows), root / "seed.parquet")
    lines = b'{"id": "1", "title": "T", "text": "Caf\xc3\xa9.", "m": {"a": [1, 2.5, null]}}\n{"text": "b"}\n'
    return {
        "a.txt": "Text\u2028of é.\r\n".encode(),
        "a.md": b"---\ntitle: &a T\nb: [*a, 2020-01-01]\n---\n# Head\n\n- a\n- b\n",
        "a.html": b'<!doctype html><meta charset="utf-8"><title>T</title><ul><li>a<li><b>b</b></ul><pre> x</pre>',
        "a.pdf": (root / "seed.pdf").read_bytes(),
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines),
        "a.csv": b'id,title,text\n1,T,"a\nb"\n2,,c\n',
        "a.tsv": b"id\ttext\n1\ta\n",
        "a.parquet": (root / "seed.parquet").read_bytes(),
    }


def mutated(data: bytes, draws: random.Random) -> bytes:
    """Return the data with a few bytes changed, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(draws.randint(1, 4)):
        at = draws.randrange(len(changed) + 1)
        kind = draws.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] = draws.randrange(256)
        elif kind == 1:
            del changed[at : at + draws.randint(1, 20)]
        elif kind == 2:
            changed[at:at] = changed[at : at + draws.randint(1, 40)]
        else:
            changed[at:at] = draws.choice(
                [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 50, b'"', b"<", b"\r\n", b"&a *a", b"9" * 30]
            )
    return bytes(changed)


def test_mutated_files_never_stop_a_run(folder: Path) -> None:
    draws = random.Random(13)
    originals = seeds(folder.parent)
    for number in range(40):
        for name, data in originals.items():
            # No random Parquet footers: Arrow's own reader may fail on those in ways that nobody can catch.
            keep = len(data) - 600 if name.endswith("parquet") else 0
            (folder / f"{number:03}{name}").write_bytes(
                data[:keep] + mutated(data[keep:], draws) if keep > 0 else mutated(data, draws)
            )
    _, report = run(folder, same_ids="suffix")
    assert report.files == 40 * len(originals) + 1
    assert report.problems > 40
    with pytest.raises(SecateurError, match=r"."):
        ingest([folder], folder.parent / "strict.jsonl", options=IngestOptions(strict=True))


def test_find_says_what_it_leaves_out(folder: Path) -> None:
    os.mkfifo(folder / "a.txt")
    assert [type(found) for found in find(folder)] == [LeftOut, Found]
