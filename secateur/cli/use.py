"""Commands that use a model: on files, as a service, on a data set, as a tool."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from secateur import __version__
from secateur.cli.display import show
from secateur.cli.ending import INTERRUPTED, NOTHING_KEPT, UsageError
from secateur.cli.options import (
    PRUNING,
    DefaultModel,
    Model,
    PassagePruning,
    Pruning,
    Query,
    Ray,
    Switch,
    ToolPruning,
    arg,
    flat,
)
from secateur.cli.reading import STDIN, read_passages
from secateur.models.backends.onnx import cuda_available
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import ONNX_FILES, WEIGHTS, read_config, resolve
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.registry import RUNTIMES, ModelChoice
from secateur.models.segmentation import AUTO, FORMATS
from secateur.models.types import Passage, PruneResult

_FORMATS_HELP = "\n".join(f"- `{name}`: {one.description}" for name, one in FORMATS.items())
_FORMAT_HELP = f"Format of the passages that do not name their own:\n\n{_FORMATS_HELP}\n\nName it if you know it."
# What each option that can leave nothing asks for.
_LOOSER = {
    "min_score": "lower --min-score",
    "max_tokens": "raise --max-tokens",
    "compression": "lower --compression",
    "never_keep": "give fewer --never-keep",
}


def _nothing_kept(passages: Sequence[Passage], options: PruneOptions, result: PruneResult) -> str:
    """Return what to say if no unit is kept, and what to do about it."""
    if not any(one.text.strip() for one in passages):
        return "nothing was kept: the passages have no text"
    changes = ["raise --target-recall"] if options.target_recall is not None else ["lower --threshold"]
    changes = changes if result.threshold else []
    changes += [change for name, change in _LOOSER.items() if getattr(options, name) not in (None, ())]
    return f"nothing was kept at threshold {result.threshold:g}; {', or '.join(changes)}"


def prune(
    *files: Annotated[
        str,
        arg(
            "Text files (one passage each), JSON-lines files (one passage per line), JSON files with a list of"
            " passages, or `-` for stdin, the default.",
            allow_leading_hyphen=True,
        ),
    ],
    query: Query,
    json_: Annotated[bool, arg("Whether to print the whole result as JSON.", "--json", negative=())] = False,
    jsonl: Annotated[Switch, arg("Whether to read every file, and stdin, as JSON lines.")] = False,
    format: Annotated[str, arg(_FORMAT_HELP, choices=tuple(FORMATS))] = AUTO,
    pruning: Annotated[Pruning, PRUNING] = Pruning(),
    model: Model = ModelChoice(),
) -> None:
    """Prune passages for a query.

    The exit status is 0 if text is kept, 3 if nothing is kept, 2 for wrong usage and 1 for any other failure.

    Example: `secateur prune -q "When was the Eiffel Tower finished?" notes.txt passages.jsonl`
    """
    passages = [one for name in files or (STDIN,) for one in read_passages(name, jsonl=jsonl, text_format=format)]
    own = asdict(model)
    pruner = Pruner.load(own.pop("model"), **own)
    console = Console(highlight=False)
    options = asdict(pruning)
    options["return_units"] |= json_ or console.is_terminal
    result = pruner.prune(query, passages, **options)
    for warning in result.warnings:
        sys.stderr.write(f"secateur: warning: {warning}\n")
    if json_:
        sys.stdout.write(json.dumps({"model": pruner.config.name, **asdict(result)}) + "\n")
    elif console.is_terminal:
        show(console, passages, result)
    else:
        encoding = sys.stdout.encoding or "utf-8"
        shown = result.text.encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(shown + "\n" if shown else "")
    if all(item.empty for item in result.results):
        sys.stderr.write(f"secateur: {_nothing_kept(passages, pruning, result)}\n")
        sys.exit(NOTHING_KEPT)


def serve(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Serve the REST API.

    Example: `secateur serve --port 9000`
    """
    from secateur.service.app import serve
    from secateur.service.flags import parse_settings

    settings = parse_settings(arguments)
    # uvicorn raises the signal again after its shutdown; a requested stop is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        stopped = serve(settings)
    except SystemExit as end:  # uvicorn did not start: its code is 3, and it has logged the reason
        sys.exit(1 if end.code else 0)
    except KeyboardInterrupt:  # without a message: uvicorn has logged it, and stderr may be a full pipe
        sys.exit(INTERRUPTED)
    sys.exit(0 if stopped else 1)


def prune_corpus(
    corpus: Annotated[Path, arg("Rows as .jsonl, .jsonl.gz, .parquet, or a `datasets` directory.")],
    /,
    *,
    out: Annotated[Path, arg("Output: the rows with one more column, in any of these formats.")],
    query: Annotated[str | None, arg("Query of all rows.", "--query", "-q")] = None,
    query_column: Annotated[str | None, arg("Column of each row's query; `query` or `question` if unset.")] = None,
    passages_column: Annotated[
        str | None, arg("Column of a text, or of a list of texts or objects; `passages`, `text`... if unset.")
    ] = None,
    title_column: Annotated[str | None, arg("Column of the title of a passage that is a text.")] = None,
    format_column: Annotated[
        str | None, arg("Column of the format of a passage that is a text; `auto` if unset or null.")
    ] = None,
    column: Annotated[str, arg("Name of the new column.")] = "pruned",
    score_only: Annotated[Switch, arg("Whether to write scores of passages and units instead of texts.")] = False,
    keep_broken: Annotated[
        Switch, arg("Whether to record the error of a broken row in a column instead of stopping at it.")
    ] = False,
    block: Annotated[int, arg("Number of rows that run together.")] = 64,
    ray: Ray = False,
    pruning: Annotated[PassagePruning, PRUNING] = PassagePruning(),
    model: Model = ModelChoice(),
) -> None:
    """Prune or score the passages of every row of a data set.

    Example: `secateur prune-corpus passages.parquet --out pruned.parquet --query-column question`
    """
    from secateur.pipelines.corpus.rows import Columns
    from secateur.pipelines.corpus.run import CorpusOptions, prune_corpus

    if query is not None and query_column is not None:
        raise UsageError(f"--query-column: {query_column!r} cannot be used with --query; give one of the two")
    options = CorpusOptions(
        columns=Columns(query_column, passages_column, title_column, format_column),
        query=query,
        pruning=PruneOptions(**asdict(pruning)),
        model=model,
        score_only=score_only,
        column=column,
        keep_broken=keep_broken,
        block=block,
        ray=ray,
    )
    try:
        report = prune_corpus(corpus, out, options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command again to continue from here") from None
    sys.stdout.write("\n".join(report.lines()) + "\n")


def mcp(
    *,
    http: Annotated[Switch, arg("Whether to serve streamable HTTP at /mcp instead of stdio.")] = False,
    host: Annotated[str, arg("Address that --http listens on.")] = "127.0.0.1",
    port: Annotated[int, arg("Port that --http listens on, 0 to 65535.", validator=Number(gte=0, lte=65535))] = 8081,
    url: Annotated[
        str | None,
        arg("URL of a running service that prunes (its key: SECATEUR_API_KEY); a model in this process if unset."),
    ] = None,
    on_error: Annotated[
        Literal["raise", "passthrough"], arg("Reaction when the service is down: an error, or the unpruned texts.")
    ] = "raise",
    pruning: Annotated[ToolPruning, PRUNING] = ToolPruning(),
    model: Annotated[ModelChoice, flat("precision", "verify", group="Model")] = ModelChoice(),
) -> None:
    """Serve pruning as a tool over the Model Context Protocol.

    Example: `secateur mcp --http --port 8081 --max-tokens 2000`
    """
    from secateur.integrations.mcp import run
    from secateur.integrations.settings import PruneSettings

    settings = PruneSettings(**asdict(model), **asdict(pruning), url=url, on_error=on_error)
    run(settings, (host, port) if http else None)


def info(model: DefaultModel = None, /) -> None:
    """Show the contents of a model directory, the installed backends and the formats of passages.

    Example: `secateur info secateur-nano-en`
    """
    directory = resolve(model)
    config = read_config(directory)
    calibration = Calibration.read(directory)
    content = {
        "secateur": __version__,
        "model": config.name,
        "directory": str(directory),
        "files": [name for name in (*ONNX_FILES.values(), WEIGHTS) if (directory / name).is_file()],
        "window": config.window,
        "heads": {"rank": config.rank_head, "prune": config.prune_head},
        "segmenter": config.segmenter,
        "threshold": config.threshold,
        "target_recalls": sorted(calibration.thresholds) if calibration else [],
        "backends": {name: find_spec(runtime.package) is not None for name, runtime in RUNTIMES.items()},
        "cuda": cuda_available(),
        "formats": {name: one.description for name, one in FORMATS.items()},
    }
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
