"""The first and last steps of `secateur data`: `ingest`, `chunk`, `publish`, `leaks`, `inspect`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def _ingest(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.ingest.run import IngestOptions, ingest
    from secateur.data_scripts.ingest.sources import Columns

    report = ingest(
        arguments.sources,
        arguments.out,
        Columns(arguments.id_column, arguments.title_column, arguments.text_column),
        IngestOptions(
            near_duplicates=arguments.near_duplicates,
            same_ids=arguments.same_ids,
            max_document_mib=arguments.max_document_mib,
            max_unpacked_mib=arguments.max_unpacked_mib,
            strict=arguments.strict,
        ),
    )
    sys.stdout.write("\n".join(report.lines()) + "\n")


def _units(value: str) -> int | None:
    return None if value == "random" else int(value)


def _chunk(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.chunking import ChunkOptions, chunk

    options = ChunkOptions(
        units=arguments.units,
        max_units=arguments.max_units,
        overlap=arguments.overlap,
        max_characters=arguments.max_characters,
        seed=arguments.seed,
        segmenter=arguments.segmenter,
    )
    report = chunk(arguments.documents, arguments.out, options)
    sys.stdout.write(
        f"{report.chunks} chunks of {report.documents} documents; {report.blank} documents hold no text; "
        f"{report.cut_units} units were longer than a chunk may be and were cut\n"
    )


def _shares(value: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for entry in value.split(","):
        name, sign, share = entry.partition("=")
        if not sign or not name.strip() or name.strip() in shares:
            raise argparse.ArgumentTypeError(f"{entry!r} is not NAME=SHARE with a name of its own")
        shares[name.strip()] = float(share)
    return shares


def _publish(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.publish import PublishOptions, publish
    from secateur.data_scripts.publish_filters import FilterOptions

    filters = FilterOptions(
        min_characters=arguments.min_characters,
        whole_from=arguments.whole_from,
        max_empty_share=arguments.max_empty_share,
        max_bucket_share=arguments.max_bucket_share,
        seed=arguments.seed,
    )
    options = PublishOptions(
        name=arguments.name,
        licence=arguments.licence,
        description=arguments.description,
        language=arguments.language,
        shares=arguments.shares,
        near_duplicates=arguments.near_duplicates,
        seed=arguments.seed,
        filters=filters,
    )
    report = publish(arguments.labels, arguments.out, options)
    sys.stdout.write("\n".join(report.lines()) + "\n")


def _leaks(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.publish_leaks import check_leaks

    check_leaks(arguments.data, arguments.near_duplicates)
    sys.stdout.write("no query, document or near-duplicate passage stands in two parts\n")


def _inspect(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.inspecting import inspect

    inspect(arguments.file, arguments.n, arguments.seed, arguments.html)


def add_steps(steps: Any) -> None:
    """Add the steps.

    Args:
        steps: the subparsers of `secateur data`.
    """
    _add_ingest(steps)
    _add_chunk(steps)
    _add_publish(steps)
    _add_leaks(steps)
    _add_inspect(steps)


def _add_ingest(steps: Any) -> None:
    step = steps.add_parser("ingest", help="Read documents of many formats, each once.")
    step.set_defaults(run=_ingest)
    step.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="text, Markdown, HTML, PDF, JSON lines, CSV, Parquet; a BEIR or `datasets` directory; a directory of them",
    )
    step.add_argument("--out", type=Path, required=True, metavar="DOCS.jsonl")
    step.add_argument("--id-column", metavar="NAME", help="of tables (default: id, _id, doc_id...)")
    step.add_argument("--title-column", metavar="NAME", help="(default: title, headline, name)")
    step.add_argument("--text-column", metavar="NAME", help="(default: text, contents, content, body...)")
    step.add_argument(
        "--near-duplicates", type=float, default=0.9, metavar="S", help="similarity that is too much; 0 turns it off"
    )
    step.add_argument("--same-ids", choices=("error", "suffix"), default="error", help="when a table's id stands twice")
    step.add_argument(
        "--max-document-mib", type=float, default=64, metavar="N", help="a larger file or row is left out (default: 64)"
    )
    step.add_argument(
        "--max-unpacked-mib",
        type=float,
        metavar="N",
        help="a .gz or Parquet file that unpacks to more is left out (default: 1024, or 100 times its size)",
    )
    step.add_argument("--strict", action="store_true", help="fail at the first file or row that cannot be read")


def _add_chunk(steps: Any) -> None:
    step = steps.add_parser("chunk", help="Cut documents into chunks of consecutive sentences.")
    step.set_defaults(run=_chunk)
    step.add_argument("documents", type=Path, metavar="DOCS.jsonl")
    step.add_argument("--out", type=Path, required=True, metavar="CHUNKS.jsonl")
    step.add_argument("--units", type=_units, metavar="random|N", help="of each chunk (default: random)")
    step.add_argument("--max-units", type=int, default=10, metavar="N", help="most that are drawn at random")
    step.add_argument("--overlap", type=int, default=0, metavar="N", help="units shared with the chunk before")
    step.add_argument("--max-characters", type=int, default=8000, metavar="N", help="of a chunk")
    step.add_argument("--seed", type=int, default=13)
    step.add_argument("--segmenter", default="nupunkt", help="sentence segmenter of the model to be")


def _add_publish(steps: Any) -> None:
    step = steps.add_parser("publish", help="Filter, balance and split labels into a data set to train on and share.")
    step.set_defaults(run=_publish)
    step.add_argument("labels", type=Path, metavar="LABELS.jsonl")
    step.add_argument("--out", type=Path, required=True, metavar="DIR")
    step.add_argument("--name", help="of the data set and its files (default: of the labels' file)")
    step.add_argument("--licence", default="other", help="as the Hub names it, e.g. cc-by-4.0")
    step.add_argument("--description", default="", help="for the data set card")
    step.add_argument("--language", default="en", help="code for the data set card")
    step.add_argument(
        "--shares", type=_shares, default="train=0.8,dev=0.1,test=0.1", metavar="PART=SHARE,...", help="of the queries"
    )
    step.add_argument("--min-characters", type=int, default=20, metavar="N", help="of a passage")
    step.add_argument(
        "--whole-from", type=int, default=5, metavar="N", help="drop passages kept whole of so many units; 0: keep them"
    )
    step.add_argument("--max-empty-share", type=float, default=0.7, metavar="S", help="of passages without a kept unit")
    step.add_argument(
        "--max-bucket-share", type=float, default=1.0, metavar="S", help="of passages with any one count of kept units"
    )
    step.add_argument(
        "--near-duplicates", type=float, default=0.9, metavar="S", help="passages so similar stay in one part; 0: off"
    )
    step.add_argument("--seed", type=int, default=13)


def _add_leaks(steps: Any) -> None:
    step = steps.add_parser("leaks", help="Say what stands in two parts of a published data set.")
    step.set_defaults(run=_leaks)
    step.add_argument("data", type=Path, metavar="DIR", help="with a directory a part")
    step.add_argument("--near-duplicates", type=float, default=0.9, metavar="S", help="0 looks for equal ones only")


def _add_inspect(steps: Any) -> None:
    step = steps.add_parser("inspect", help="Show samples with their labels in colour.")
    step.set_defaults(run=_inspect)
    step.add_argument("file", type=Path, metavar="FILE", help="labels, or published examples")
    step.add_argument("--n", type=int, default=5, help="samples")
    step.add_argument("--seed", type=int, default=13)
    step.add_argument("--html", type=Path, metavar="OUT.html", help="write a page instead")
