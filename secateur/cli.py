"""The command line: `secateur prune | serve | info`, and those of the modules `cli_...` beside this one.

Exit codes: 0 success, 1 a failure, 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur import __version__, cli_data, cli_eval, cli_mcp, cli_prune_corpus, cli_training
from secateur.ending import INTERRUPTED, UsageError, leave, run_command

if TYPE_CHECKING:
    from secateur.models.pruner import Pruner
    from secateur.models.types import Passage


# Commands that tell how far they are.
_LONG = ("train", "distill", "finetune", "calibrate", "card", "export", "data", "prune-corpus", "eval")


def _read_text(name: str) -> str:
    from secateur.labelled.text_files import as_text, read_limited
    from secateur.models.errors import DataError

    try:
        return as_text(sys.stdin.buffer.read() if name == "-" else read_limited(Path(name)), name)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from error
    except DataError as error:
        raise UsageError(str(error)) from error


def _json_lines(name: str, text: str) -> list[Passage]:
    from secateur.labelled.text_files import parse_json
    from secateur.models.errors import InputError
    from secateur.models.requests import as_passage

    passages = []
    # Not splitlines: JSON strings may hold U+2028 and other characters that it takes for line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                passages.append(as_passage(parse_json(line), f"{name}, line {number}"))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{name}, line {number}: is not JSON ({error})") from error
            except InputError as error:
                raise UsageError(str(error)) from error
    return passages


def _passages(files: Sequence[str], as_json_lines: bool) -> list[Passage]:
    """Read passages: each text file is one, each line of a .jsonl file is one."""
    from secateur.models.types import Passage

    passages: list[Passage] = []
    for name in files or ["-"]:
        text = _read_text(name)
        if as_json_lines or name.endswith(".jsonl"):
            passages += _json_lines(name, text)
        else:
            passages.append(Passage(text, id=None if name == "-" else name))
    return passages


def _load(arguments: argparse.Namespace) -> Pruner:
    from secateur.models.pruner import Pruner

    return Pruner.load(
        arguments.model,
        backend=arguments.backend,
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
        verify=arguments.verify,
    )


def _prune(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    passages = _passages(arguments.files, arguments.jsonl)
    pruner = _load(arguments)
    console = Console(highlight=False)
    result = pruner.prune(
        arguments.query,
        passages,
        threshold=arguments.threshold,
        target_recall=arguments.target_recall,
        max_tokens=arguments.max_tokens,
        top_n=arguments.top_n,
        min_score=arguments.min_score,
        reorder=not arguments.keep_order,
        drop_empty=arguments.drop_empty,
        return_units=console.is_terminal or arguments.json,
    )
    for warning in result.warnings:
        print(f"secateur: warning: {warning}", file=sys.stderr)  # noqa: T201
    if arguments.json:
        sys.stdout.write(json.dumps({"model": pruner.config.name, **asdict(result)}) + "\n")
    elif console.is_terminal:
        from secateur.display import show

        show(console, passages, result)
    else:
        encoding = sys.stdout.encoding or "utf-8"
        shown = result.text.encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(shown + "\n" if shown else "")


def _serve(arguments: argparse.Namespace) -> None:
    from secateur.service.app import serve
    from secateur.service.flags import read_settings

    settings = read_settings(arguments)
    # uvicorn raises the signal again once it has shut down; a stop that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wanted = serve(settings)
    except SystemExit as end:  # uvicorn could not start: its code is 3, and it has logged why
        sys.exit(1 if end.code else 0)
    except KeyboardInterrupt:  # without a line of its own: it has logged it, and stderr may be a pipe that is full
        sys.exit(INTERRUPTED)
    sys.exit(0 if wanted else 1)


def _info(arguments: argparse.Namespace) -> None:
    from importlib.util import find_spec

    from secateur.models.backends.onnx import cuda_available
    from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, WEIGHTS, read_calibration, read_config, resolve

    directory = resolve(arguments.model)
    config = read_config(directory)
    calibration = read_calibration(directory)
    content = {
        "secateur": __version__,
        "model": config.name,
        "directory": str(directory),
        "files": [name for name in (ONNX_INT8, ONNX_FP16, WEIGHTS) if (directory / name).is_file()],
        "window": config.window,
        "heads": {"rank": config.rank_head, "prune": config.prune_head},
        "segmenter": config.segmenter,
        "threshold": config.threshold,
        "target_recalls": sorted(calibration) if calibration else [],
        "backends": {
            "openvino": find_spec("openvino") is not None,
            "onnx": find_spec("onnxruntime") is not None,
            "onnx on cuda": cuda_available(),
            "torch": find_spec("torch") is not None,
        },
    }
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="model directory or shipped model's name (default: secateur-nano-en)")
    parser.add_argument("--backend", default="auto", choices=("auto", "openvino", "onnx", "torch"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", choices=("auto", "int8", "fp16"), help="of the ONNX file")
    parser.add_argument("--threads", type=int, help="threads of CPU runtimes (default: one a processor)")
    parser.add_argument(
        "--no-verify", dest="verify", action="store_false", help="do not compare the model's files with their sums"
    )


def _add_pruning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threshold", type=float, help="keep probability from which a sentence is kept, 0 to 1")
    parser.add_argument("--target-recall", type=float, help="instead of a threshold: share of answers to keep")
    parser.add_argument("--top-n", type=int, help="only the N most relevant passages")
    parser.add_argument("--max-tokens", type=int, help="token budget over all passages")
    parser.add_argument("--min-score", type=float, help="only passages at least this relevant, 0 to 1")
    parser.add_argument("--keep-order", action="store_true", help="keep the given order of passages")
    parser.add_argument("--drop-empty", action="store_true", help="leave out passages of which nothing is kept")
    _add_model(parser)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secateur", description="Context pruning and reranking for RAG.")
    parser.add_argument("--version", action="version", version=f"secateur {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    prune = command("prune", _prune, "Prune passages for a query.")
    prune.add_argument(
        "files", nargs="*", metavar="FILE", help="text file (a passage), .jsonl (a passage a line), or -"
    )
    prune.add_argument("-q", "--query", required=True, help="the question")
    prune.add_argument("--json", action="store_true", help="print the whole result as JSON")
    prune.add_argument("--jsonl", action="store_true", help="read every FILE, and stdin, as JSON lines")
    _add_pruning(prune)

    serve = command("serve", _serve, "Serve the REST API.")
    if argv[:1] == ["serve"]:  # the flags are the service's settings, which take a while to import
        from secateur.service.flags import add_flags

        add_flags(serve)

    cli_training.add_commands(command)
    cli_data.add_commands(command)
    cli_prune_corpus.add_commands(command, _add_pruning)
    cli_eval.add_commands(command)
    cli_mcp.add_commands(command)

    info = command("info", _info, "Say what a model directory holds and which backends are installed.")
    info.add_argument("model", nargs="?", metavar="MODEL_DIR")
    return parser


def _run(argv: Sequence[str]) -> None:
    arguments = _parser(argv).parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.command in _LONG else logging.WARNING)
    for name in ("httpx", "httpx2", "sentence_transformers"):  # a line a request, or a model that is loaded
        logging.getLogger(name).setLevel(logging.WARNING)
    run: Callable[[argparse.Namespace], Any] = arguments.run
    run(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None for those of the process, which then ends here if it is interrupted.

    Returns:
        The exit code.
    """
    code = run_command(lambda: _run(sys.argv[1:] if argv is None else list(argv)))
    if code == INTERRUPTED and argv is None:
        leave(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
