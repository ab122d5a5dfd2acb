from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur.cli import main
from secateur.data_scripts.check import check_data
from secateur.data_scripts.publish import PublishOptions, publish, relevant_spans, to_examples
from secateur.data_scripts.publish_filters import FilterOptions, balanced, bucket, filtered
from secateur.data_scripts.publish_leaks import check_leaks
from secateur.data_scripts.records import Labelled
from secateur.labelled.examples import read_examples
from secateur.labelled.json_files import write_json_lines
from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError, InputError

SPLITS = ("train", "dev", "test")


def label(number: int = 0, labels: tuple[float, ...] = (1.0, 0.0, 0.0), **changes: Any) -> Labelled:
    """Return a distinct pair: each of its facts contains the number."""
    sentences = [f"Fact {number}-{unit} of item{number} is thing{number * 7 + unit}. " for unit in range(len(labels))]
    text, units = "", []
    for sentence in sentences:
        units.append((len(text), len(text) + len(sentence)))
        text += sentence
    query, bounds = f"What is item{number}?", tuple(units)
    made = Labelled(f"p{number}", query, text, bounds, labels, passage_id=f"c{number}", document_id=f"d{number}")
    return replace(made, **changes)


def dataset() -> list[Labelled]:
    """Sixty queries, each with a relevant passage and two that are not."""
    labels = []
    for number in range(60):
        query = f"Query number {number}?"
        labels.append(label(number, (0.0, 1.0, 0.6), query=query, query_id=f"q{number}"))
        labels += [label(100 + 2 * number + n, (0.0, 0.4), query=query, query_id=f"q{number}") for n in (0, 1)]
    return labels


def rows(directory: Path) -> list[dict[str, Any]]:
    import gzip

    return [json.loads(line) for file in directory.glob("*.gz") for line in gzip.open(file, "rt", encoding="utf-8")]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    write_json_lines(tmp_path / "my labels.jsonl", dataset())
    command = ["data", "publish", str(tmp_path / "my labels.jsonl"), "--out", str(tmp_path / "out")]
    assert main([*command, "--licence", "cc-by-4.0", "--description", "About: things."]) == 0
    return tmp_path / "out"


def test_what_is_published_is_what_training_reads(published: Path) -> None:
    assert sorted(path.name for path in published.iterdir()) == ["README.md", "dev", "parquet", "test", "train"]
    counts = Counter({split: len(rows(published / split)) for split in SPLITS})
    assert counts == {"train": 48, "dev": 6, "test": 6}
    (source,) = labelled_sources(published / "train")
    assert source.name == "my-labels"
    assert len(list(source.read())) == 48
    assert check_data(published / "train").usable
    (example, *_) = read_examples(published / "train" / "my-labels.jsonl.gz")
    assert [passage.relevant for passage in example.passages] == [True, False, False]
    (parquet,) = labelled_sources(published / "parquet" / "train")
    assert list(parquet.read()) == list(source.read())


def test_parquet_can_be_loaded_with_datasets(published: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    files = {split: str(published / "parquet" / split / "*.parquet") for split in SPLITS}
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["dev"][0] == {
        **rows(published / "dev")[0],
        "passages": [passage | {"teacher_score": None} for passage in rows(published / "dev")[0]["passages"]],
    }


def test_the_card_says_what_there_is(published: Path) -> None:
    card = (published / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    header = yaml.safe_load(front)
    assert header["license"] == "cc-by-4.0"
    assert [(published / "parquet" / split) for split in SPLITS] == [
        (published / entry["path"]).parent for entry in header["configs"][0]["data_files"]
    ]
    assert "About: things." in body
    assert "| train | 48 | 144 | 48 | 336 | 96 |" in body


def test_the_same_labels_make_the_same_files(published: Path, tmp_path: Path) -> None:
    publish(tmp_path / "my labels.jsonl", tmp_path / "again", PublishOptions())
    for split in SPLITS:
        name = f"{split}/my-labels.jsonl.gz"
        assert (published / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_spans_are_merged_and_trimmed_and_soft_labels_stay() -> None:
    made = label(0, (0.5, 1.0, 0.49, 0.7))
    spans = relevant_spans(made)
    texts = [made.passage[start:end] for start, end in spans]
    assert texts == ["Fact 0-0 of item0 is thing0. Fact 0-1 of item0 is thing1.", "Fact 0-3 of item0 is thing3."]
    (row,) = to_examples([made], "s")
    assert row["passages"][0]["soft_labels"] == [0.5, 1.0, 0.49, 0.7]
    assert "teacher_score" not in row["passages"][0]


def test_a_query_is_one_example_whatever_its_case() -> None:
    made = [label(0, query="Who won?", query_id="1", answers=("a",)), label(1, query="who  won?", answers=("a", "b"))]
    other = label(2, query="Who lost?", query_id="1")
    first, second = to_examples([*made, other], "s")
    assert (first["id"], len(first["passages"]), first["answers"]) == ("1", 2, ["a", "b"])
    assert second["id"].startswith("1-")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"query": " "}, "blank query"),
        ({"units": (), "labels": ()}, "no units"),
        ({"units": ((0, 9_999),), "labels": (1.0,)}, "units outside the passage"),
        ({"units": ((5, 9), (0, 5)), "labels": (1.0, 0.0)}, "units outside the passage"),
        ({"labels": (1.5, 0.0, 0.0)}, "labels outside 0 to 1"),
        ({"labels": (float("nan"), 0.0, 0.0)}, "labels outside 0 to 1"),
        ({"passage": "Short.", "units": ((0, 6),), "labels": (1.0,)}, "passage too short"),
        ({"passage": label(1).passage.upper(), "units": label(1).units, "query": label(1).query}, "duplicate pair"),
    ],
)
def test_bad_pairs_are_counted_by_reason(changes: dict[str, Any], reason: str) -> None:
    dropped: Counter[str] = Counter()
    assert filtered([label(1), replace(label(2), **changes)], FilterOptions(), dropped) == [label(1)]
    assert dropped == {reason: 1}


def test_long_passages_kept_whole_are_dropped_unless_asked() -> None:
    whole, dropped = [label(1, (1.0,) * 5), label(2, (1.0,) * 4)], Counter[str]()
    assert filtered(whole, FilterOptions(), dropped) == whole[1:]
    assert dropped == {"long passage kept whole": 1}
    assert filtered(whole, FilterOptions(whole_from=0), dropped) == whole


def test_empty_passages_are_held_to_their_share_and_order_does_not_matter() -> None:
    labels = [label(n, (0.0, 0.0)) for n in range(90)] + [label(n, (1.0, 0.0)) for n in range(90, 100)]
    dropped: Counter[str] = Counter()
    options = FilterOptions(max_empty_share=0.5)
    stay = balanced(labels, options, dropped)
    assert Counter(map(bucket, stay)) == {0: 10, 1: 10}
    assert dropped == {"surplus without a kept unit": 80}
    assert {found.id for found in balanced(labels[::-1], options, dropped)} == {found.id for found in stay}


def test_full_buckets_are_cut() -> None:
    sizes = {0: 10, 1: 80, 2: 6}
    labels = [
        label(1000 * kept + n, (1.0,) * kept + (0.0,) * (3 - kept)) for kept, size in sizes.items() for n in range(size)
    ]
    stay = balanced(labels, FilterOptions(max_bucket_share=0.5), Counter())
    assert Counter(map(bucket, stay)) == {0: 10, 1: 16, 2: 6}
    with pytest.raises(DataError, match=r"use at least 0\.33"):
        balanced(labels, FilterOptions(max_bucket_share=0.2), Counter())


def test_queries_of_a_document_and_of_near_duplicates_stay_together(tmp_path: Path) -> None:
    text = label(0, (1.0,) * 30).passage
    near = [
        replace(label(n), passage=f"{text}{n}", units=((0, len(text)), (len(text), len(text) + 1)), labels=(1.0, 0.0))
        for n in range(5)
    ]
    documents = [label(n, document_id=f"shared{n // 4}") for n in range(10, 50)]
    write_json_lines(tmp_path / "l.jsonl", [*near, *documents])
    publish(tmp_path / "l.jsonl", tmp_path / "out", PublishOptions(shares={"train": 0.5, "test": 0.5}))
    check_leaks(tmp_path / "out")
    found = {split: rows(tmp_path / "out" / split) for split in ("train", "test")}
    assert sum(map(len, found.values())) == 45
    assert {sum(r["query"] in {n.query for n in near} for r in split) for split in found.values()} == {0, 5}


def test_negatives_that_tie_all_queries_stay_in_one_split(tmp_path: Path) -> None:
    labels = [label(number) for number in range(40)]
    labels += [label(99, (0.0, 0.0), id=f"n{number}", query=label(number).query) for number in range(40)]
    write_json_lines(tmp_path / "l.jsonl", labels)
    report = publish(tmp_path / "l.jsonl", tmp_path / "out", PublishOptions(shares={"train": 0.8, "test": 0.2}))
    assert {name: found.queries for name, found in report.splits.items()} == {"train": 32, "test": 8}
    assert report.dropped == {"would be in two splits": 8}
    check_leaks(tmp_path / "out")


def test_leaks_are_named_and_fail(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "leaks", str(published)]) == 0
    row = rows(published / "train")[0]
    row["passages"] = row["passages"][:1]
    for number, (kind, changes) in enumerate(
        (
            ("query", {"query": row["query"].upper(), "passages": []}),
            ("document", {"query": "new?", "passages": [{**row["passages"][0], "text": "Wholly other words here."}]}),
            ("passage", {"query": "new?", "passages": [{"text": row["passages"][0]["text"]}]}),
            ("near-duplicate passage", {"query": "new?", "passages": [{"text": row["passages"][0]["text"] + "Yes."}]}),
        )
    ):
        extra = published / "test" / "extra.jsonl"
        extra.write_text(json.dumps(row | changes), encoding="utf-8")
        capsys.readouterr()
        assert main(["data", "leaks", str(published)]) == 1, number
        assert f": {kind} '" in capsys.readouterr().err


def test_leaks_need_two_splits_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs at least two subdirectories"):
        check_leaks(tmp_path)
    for split in ("a", "b"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "d.jsonl").write_text('{"query": "q"}')
    with pytest.raises(DataError, match=r"d\.jsonl, line 1: KeyError"):
        check_leaks(tmp_path)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"shares": {"train": 0.5}}, "not 0.5"),
        ({"shares": {"train": 1.5, "dev": -0.5}}, "'dev': -0.5"),
        ({"shares": {"../train": 1.0}}, r"shares: .*'\.\./train'"),
        ({"shares": {"parquet": 1.0}}, "'parquet' cannot be the name of a split"),
        ({"name": "a/b"}, "name: 'a/b'"),
        ({"near_duplicates": 3}, "near_duplicates: 3"),
    ],
)
def test_options_are_checked(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        PublishOptions(**options)
    with pytest.raises(InputError, match="max_empty_share: 2"):
        FilterOptions(max_empty_share=2)


def test_nothing_left_and_old_data_are_errors(published: Path, tmp_path: Path) -> None:
    write_json_lines(tmp_path / "l.jsonl", [label(0, query="")])
    with pytest.raises(DataError, match=r"all of its 1 pairs are dropped \(blank query: 1\)"):
        publish(tmp_path / "l.jsonl", tmp_path / "none", PublishOptions())
    write_json_lines(tmp_path / "l.jsonl", [label(0)])
    with pytest.raises(DataError, match="would be empty"):
        publish(tmp_path / "l.jsonl", tmp_path / "none", PublishOptions())
    with pytest.raises(DataError, match=r"contains other data, dev/my-labels\.jsonl\.gz"):
        publish(tmp_path / "l.jsonl", published, PublishOptions())
    assert not (tmp_path / "none").exists()
