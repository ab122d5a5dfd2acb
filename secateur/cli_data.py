"""The command that makes training data: `secateur data STEP`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from secateur import cli_corpus, cli_labels, cli_retrieval, cli_teacher


def _data_spans(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.answer_spans import label_answer_spans

    report = label_answer_spans(arguments.source, arguments.target)
    sys.stdout.write(
        f"{report.queries} queries, {report.passages} passages, {report.relevant} of them with an answer; "
        f"{report.unanswered} queries whose answers stand in no passage\n"
    )


def _data_check(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.check import check_data
    from secateur.models.errors import DataError

    report = check_data(arguments.data, arguments.segmenter)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if not report.usable:
        raise DataError(f"{arguments.data}: cannot be trained on as it is")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command.

    Args:
        command: makes a command of a name, what it runs, and a line of help.
    """
    data = command("data", _data_check, "Make and check training data.").add_subparsers(required=True, metavar="STEP")
    cli_retrieval.add_steps(data)
    cli_corpus.add_steps(data)
    cli_labels.add_steps(data)
    cli_teacher.add_steps(data)

    spans = data.add_parser("spans", help="Label passages by where the answer strings stand.")
    spans.set_defaults(run=_data_spans)
    spans.add_argument("source", type=Path, metavar="IN.jsonl", help="lines of {query, answers, passages}")
    spans.add_argument("target", type=Path, metavar="OUT.jsonl", help="labelled examples for `secateur train`")

    check = data.add_parser("check", help="Say what is wrong with labelled examples before they are trained on.")
    check.set_defaults(run=_data_check)
    check.add_argument("data", type=Path, metavar="DATA", help="a JSON-lines file, or a directory of them")
    check.add_argument("--segmenter", default="nupunkt", help="sentence segmenter of the model to be")
