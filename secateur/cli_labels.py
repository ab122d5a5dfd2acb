"""The steps of `secateur data` that make queries and labels (`queries`, `round-trip`, `label`), and all: `build`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.data_scripts.labels.labelling import LabelOptions
    from secateur.data_scripts.labels.run import LabelReport
    from secateur.llm.endpoint import Endpoint


def endpoint_of(arguments: argparse.Namespace) -> Endpoint:
    """Return the endpoint that the flags of `add_endpoint` mean."""
    from secateur.llm.endpoint import Endpoint

    return Endpoint(
        base_url=arguments.base_url,
        model=arguments.model,
        api_key=os.environ.get(arguments.api_key_env),
        timeout_s=arguments.timeout,
        retries=arguments.retries,
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
    )


def _label_options(arguments: argparse.Namespace) -> LabelOptions:
    from secateur.data_scripts.labels.labelling import LabelOptions
    from secateur.llm.budget import Prices

    return LabelOptions(
        style=arguments.method,
        samples=arguments.samples,
        segmenter=arguments.segmenter,
        concurrency=arguments.concurrency,
        requests_per_minute=arguments.requests_per_minute,
        prices=Prices(*arguments.prices) if arguments.prices else None,
        max_cost=arguments.max_cost,
    )


def _say(report: LabelReport) -> None:
    from secateur.models.errors import DataError

    sys.stdout.write("\n".join(report.lines()) + "\n")
    if report.calls.stopped is not None:
        raise report.calls.stopped
    if report.missing:
        total = report.labelled + report.dropped.total() + report.missing.total()
        raise DataError(
            f"{report.missing.total()} of {total} pairs have no labels, since the endpoint gave no reply; run again to "
            "ask for these alone"
        )


def _label(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.labels import run
    from secateur.models.errors import InputError

    if arguments.method == "spans":
        _say(run.label_by_answers(arguments.pairs, arguments.out, arguments.segmenter))
        return
    for name in ("base_url", "model"):
        if getattr(arguments, name) is None:
            raise InputError(f"--{name.replace('_', '-')}", "is missing", "give the endpoint, or --method spans")
    endpoint, options = endpoint_of(arguments), _label_options(arguments)
    if not arguments.dry_run:
        _say(run.label(arguments.pairs, arguments.out, endpoint, options, arguments.cache, ray=arguments.ray))
        return
    projection = run.project(arguments.pairs, arguments.out, endpoint, options, arguments.cache)
    for prompt in projection.prompts:
        sys.stdout.write(f"{prompt}\n\n{'-' * 80}\n\n")
    completion = "any number of" if projection.completion_tokens is None else f"at most {projection.completion_tokens}"
    cost = "" if projection.cost is None else f", cost at most about {projection.cost:.4f}"
    sys.stdout.write(
        f"{projection.pairs} pairs, {projection.requests} requests still to send, about {projection.prompt_tokens} "
        f"tokens in, {completion} out{cost}; nothing was sent\n"
    )


def _queries(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.queries.generation import STYLES, GenerateOptions
    from secateur.data_scripts.queries.run import Asking, make_queries
    from secateur.llm.budget import Budget, Pace, Prices
    from secateur.models.errors import DataError, InputError

    asking = None
    if arguments.base_url is not None:
        if arguments.model is None:
            raise InputError("--model", "is missing", "give the model's name at the endpoint")
        options = GenerateOptions(
            styles=tuple(arguments.style or STYLES),
            per_topic=arguments.per_topic,
            topics=arguments.topics,
            concurrency=arguments.concurrency,
        )
        prices = Prices(*arguments.prices) if arguments.prices else None
        asking = Asking(
            endpoint_of(arguments),
            options,
            arguments.cache or arguments.out.with_name(f"{arguments.out.name}.replies"),
            Budget(prices, arguments.max_cost),
            Pace(arguments.requests_per_minute),
        )
    count, report = make_queries(arguments.chunks, arguments.out, arguments.own, not arguments.no_rules, asking)
    dropped = ", ".join(f"{number} {reason}" for reason, number in sorted(report.dropped.items()))
    sys.stdout.write(f"{count} queries{f'; dropped: {dropped}' if dropped else ''}\n")
    if report.stopped is not None:
        raise report.stopped
    if report.missing:
        raise DataError(f"{report.missing.total()} requests had no reply; run again to ask for these alone")


def _round_trip(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.queries.round_trip import round_trip

    stay, left_out = round_trip(arguments.candidates, arguments.out, arguments.k)
    sys.stdout.write(f"{stay} {'query stays' if stay == 1 else 'queries stay'}, {left_out} left out\n")


def _build(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.building.build import build
    from secateur.data_scripts.building.config import BuildConfig
    from secateur.labelled.yaml_files import read_yaml

    for line in build(read_yaml(arguments.config, BuildConfig)):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def add_endpoint(parser: argparse.ArgumentParser, max_tokens: int = 256) -> None:
    """Add the flags that say which endpoint is asked, and how."""
    parser.add_argument("--base-url", help="of an OpenAI-compatible endpoint, e.g. http://localhost:8000/v1")
    parser.add_argument("--model", help="the model's name there")
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="environment variable")
    parser.add_argument("--concurrency", type=int, default=8, help="requests under way at once")
    parser.add_argument("--requests-per-minute", type=float, metavar="N", help="at most")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for one try")
    parser.add_argument("--retries", type=int, default=4, help="further tries after 429, 5xx or a timeout")
    parser.add_argument("--max-tokens", type=int, default=max_tokens, help="of a reply")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--prices", type=float, nargs=2, metavar=("IN", "OUT"), help="per million tokens")
    parser.add_argument("--max-cost", type=float, metavar="X", help="of the job, all its runs; needs --prices")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of replies (default: beside --out)")


def add_steps(steps: Any) -> None:
    """Add the steps.

    Args:
        steps: the subparsers of `secateur data`.
    """
    build = steps.add_parser("build", help="Run all steps by one configuration; each is done once.")
    build.set_defaults(run=_build)
    build.add_argument("config", type=Path, metavar="CONFIG.yaml")

    queries = steps.add_parser("queries", help="Make queries for chunks: own ones, by rule, by a language model.")
    queries.set_defaults(run=_queries)
    queries.add_argument("chunks", type=Path, metavar="CHUNKS.jsonl")
    queries.add_argument("--out", type=Path, required=True, metavar="QUERIES.jsonl")
    queries.add_argument("--own", type=Path, help="the user's: a text file with one a line, or JSON lines")
    queries.add_argument("--no-rules", action="store_true", help="take no headings and questions of FAQs")
    queries.add_argument(
        "--style", action="append", choices=("question", "keywords", "conversational"), help="default: each of them"
    )
    queries.add_argument("--per-topic", type=int, default=2, help="queries of a topic and style")
    queries.add_argument("--topics", type=int, default=4, help="of a document at most")
    add_endpoint(queries)

    round_trip = steps.add_parser("round-trip", help="Keep the queries that find the chunk they were made from.")
    round_trip.set_defaults(run=_round_trip)
    round_trip.add_argument("candidates", type=Path, metavar="CANDIDATES.jsonl")
    round_trip.add_argument("--out", type=Path, required=True, metavar="CANDIDATES.jsonl")
    round_trip.add_argument("--k", type=int, default=10, help="rank within which its chunk must stand")

    label = steps.add_parser("label", help="Label which sentences of each pair's passage answer its query.")
    label.set_defaults(run=_label)
    label.add_argument("--in", dest="pairs", type=Path, required=True, metavar="PAIRS.jsonl")
    label.add_argument("--out", type=Path, required=True, metavar="LABELS.jsonl")
    label.add_argument(
        "--method",
        default="answer",
        choices=("answer", "select", "spans"),
        help="answer and cite (Provence); name sentences only; or by the pairs' known answers, without a model",
    )
    label.add_argument("--samples", type=int, default=1, help="replies a pair; labels are the shares that agree")
    label.add_argument("--segmenter", default="nupunkt", help="sentence segmenter of the model to be")
    label.add_argument("--ray", action="store_true", help="on the Ray cluster of RAY_ADDRESS, or a local one")
    label.add_argument("--dry-run", action="store_true", help="show prompts and the projected cost; send nothing")
    add_endpoint(label)
