"""The step of `secateur data` that scores passages by a larger model: `teach`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from secateur.cli_labels import add_endpoint, endpoint_of


def _teach(arguments: argparse.Namespace) -> None:
    from secateur.data_scripts.teacher import run
    from secateur.models.errors import InputError

    if (arguments.teacher is None) == (arguments.base_url is None):
        problem = "is missing" if arguments.teacher is None else "does not go with --base-url"
        raise InputError("--teacher", problem, "give a model directory, or an endpoint by --base-url and --model")
    if arguments.teacher is not None:
        report = run.teach_by_model(
            arguments.candidates,
            arguments.out,
            arguments.teacher,
            max_tokens=arguments.teacher_tokens,
            batch=arguments.batch,
            ray=arguments.ray,
        )
        sys.stdout.write("\n".join(report.lines()) + "\n")
        return
    if arguments.ray:
        raise InputError("--ray", "does not go with --base-url", "the endpoint does the work; raise --concurrency")
    if arguments.model is None:
        raise InputError("--model", "is missing", "give the model's name at the endpoint")
    from secateur.data_scripts.teacher.asking import REPLY_TOKENS, TeachOptions
    from secateur.llm.budget import Prices

    if arguments.max_tokens is None:
        arguments.max_tokens = REPLY_TOKENS[arguments.mode]
    endpoint = endpoint_of(arguments)
    options = TeachOptions(
        mode=arguments.mode,
        sorting=arguments.sorting,
        passes=arguments.passes,
        window=arguments.window,
        step=arguments.step,
        concurrency=arguments.concurrency,
        requests_per_minute=arguments.requests_per_minute,
        prices=Prices(*arguments.prices) if arguments.prices else None,
        max_cost=arguments.max_cost,
    )
    report = run.teach_by_endpoint(arguments.candidates, arguments.out, endpoint, options, arguments.cache)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if report.stopped is not None:
        raise report.stopped


def add_steps(steps: Any) -> None:
    """Add the step.

    Args:
        steps: the subparsers of `secateur data`.
    """
    teach = steps.add_parser("teach", help="Score each query's passages by a larger model.")
    teach.set_defaults(run=_teach)
    teach.add_argument("candidates", type=Path, metavar="CANDIDATES.jsonl")
    teach.add_argument("--out", type=Path, required=True, metavar="SCORED.jsonl")
    teach.add_argument("--teacher", metavar="MODEL", help="cross-encoder's or secateur model's directory")
    teach.add_argument("--teacher-tokens", type=int, default=512, help="that a cross-encoder reads of a pair")
    teach.add_argument("--batch", type=int, default=32, help="pairs that a cross-encoder reads at once")
    teach.add_argument("--ray", action="store_true", help="with --teacher: on the Ray cluster of RAY_ADDRESS")
    teach.add_argument(
        "--mode", default="pointwise", choices=("pointwise", "pairwise", "listwise"), help="how an endpoint is asked"
    )
    teach.add_argument(
        "--sorting", default="allpair", choices=("allpair", "heapsort", "sliding"), help="pairwise: what is compared"
    )
    teach.add_argument("--passes", type=int, default=10, help="sliding: first ranks that are to be right")
    teach.add_argument("--window", type=int, default=20, help="listwise: passages a request")
    teach.add_argument("--step", type=int, default=10, help="listwise: passages by which the window moves")
    add_endpoint(teach)
    # Reasoning models need more than a word.
    teach.set_defaults(max_tokens=None)
