"""`secateur prune-corpus`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def _prune_corpus(arguments: argparse.Namespace) -> None:
    from secateur.models.options import PruneOptions
    from secateur.pipelines.corpus.pruning import ModelChoice
    from secateur.pipelines.corpus.rows import Columns
    from secateur.pipelines.corpus.run import CorpusOptions, prune_corpus

    options = CorpusOptions(
        columns=Columns(arguments.query_column, arguments.passages_column, arguments.title_column),
        query=arguments.query,
        pruning=PruneOptions(
            threshold=arguments.threshold,
            target_recall=arguments.target_recall,
            max_tokens=arguments.max_tokens,
            top_n=arguments.top_n,
            min_score=arguments.min_score,
            reorder=not arguments.keep_order,
            drop_empty=arguments.drop_empty,
            truncate_query=arguments.truncate_query,
        ),
        model=ModelChoice(
            arguments.model,
            arguments.backend,
            arguments.device,
            arguments.precision,
            arguments.threads,
            arguments.verify,
        ),
        score_only=arguments.score_only,
        column=arguments.column,
        keep_broken=arguments.keep_broken,
        block=arguments.block,
        ray=arguments.ray,
    )
    try:
        report = prune_corpus(arguments.corpus, arguments.out, options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command again to go on from here") from None
    sys.stdout.write("\n".join(report.lines()) + "\n")


def add_commands(
    command: Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser],
    add_pruning: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add `prune-corpus`.

    Args:
        command: makes a command of a name, what it runs, and a line of help.
        add_pruning: adds the options of pruning and of the model.
    """
    parser = command("prune-corpus", _prune_corpus, "Prune or score the passages of each row of a dataset.")
    parser.add_argument(
        "corpus", type=Path, metavar="CORPUS", help=".jsonl, .jsonl.gz, .parquet, or a `datasets` directory"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the rows with one more column; the same kinds",
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("-q", "--query", help="the question for all rows")
    asked.add_argument("--query-column", metavar="NAME", help="or the column of each row's (default: query, question)")
    parser.add_argument(
        "--passages-column", metavar="NAME", help="a text, or a list of texts or objects (default: passages, text...)"
    )
    parser.add_argument("--title-column", metavar="NAME", help="title of the passage, where that is a text")
    parser.add_argument("--column", default="pruned", metavar="NAME", help="the new column (default: pruned)")
    parser.add_argument("--score-only", action="store_true", help="write scores of passages and units, and no texts")
    parser.add_argument(
        "--keep-broken", action="store_true", help="give broken rows an error in a column beside, and go on"
    )
    parser.add_argument("--block", type=int, default=64, metavar="ROWS", help="rows that run together (default: 64)")
    parser.add_argument("--ray", action="store_true", help="run on the Ray cluster of RAY_ADDRESS, or a local one")
    parser.add_argument("--truncate-query", action="store_true", help="cut queries longer than half the window")
    add_pruning(parser)
