"""Speed and memory of our engine beside its bare runtimes and its peers, in one process."""

from __future__ import annotations

import gc
import logging
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contestants.base import MAX_TOKENS, Contestant, Loaded, Sizes, Workplace
from benchmarks.contestants.registry import CONTESTANTS, OURS, find_contestants
from benchmarks.memory import OutOfMemoryError, contestant_peak_bytes
from benchmarks.race import Result, expected_seconds, over_budget, race
from benchmarks.tables import (
    ABSENT,
    BenchTable,
    check_positive,
    median_ms,
    percentile_ms,
    ratio_cells,
    shown_mb,
    shown_rate,
)
from benchmarks.workload import BenchRequest, Timing, mixed_requests
from secateur.models.checkpoint import load_tokenizer, resolve
from secateur.models.errors import MissingExtraError

log = logging.getLogger(__name__)

HEADER = (
    "",
    "passages a call",
    "does",
    "weights",
    "passages a second",
    "tokens a second",
    "median",
    "p95",
    "calls",
    "its time / ours",
    "range",
    "peak memory",
)
_PACKAGES = ("openvino", "onnxruntime", "torch", "transformers", "sentence-transformers", "flashrank")
_NOTE = (
    "A call is one query with that many real passages of mixed lengths. Each contestant takes turns with Secateur "
    "on the same calls, {rounds} rounds, fewer where its calls of one workload would take more than {budget:g} s; "
    "no other contestant is in memory. Times are compared call by call: median and range. Tokens are those of "
    "whole pairs by Secateur's tokenizer; up to {long:.1%} of a workload's pairs have more than the {max_tokens} "
    "that the models read at once: systems that prune read those in several windows, systems that only rank cut "
    "them. CrossEncoder and FlashRank have the base encoder of Secateur's model. Networks with random weights cost "
    "as much as trained ones; they run in Secateur's engine on the tokens of its tokenizer, so their times are "
    "those of networks of the published sizes. The floors get finished batches. Peak memory is that of a fresh "
    "process that loads the contestant and makes one call."
)


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """How contestants are raced.

    Attributes:
        contestant: Names of the contestants beside ours; all by default.
        passages: Numbers of passages of a call, one workload for each.
        rounds: Timed calls of each contestant on each workload.
        budget_s: Seconds for the timed calls of a contestant on a workload; slower ones get fewer rounds or none.
        sizes: Sizes of the networks with random weights.
    """

    contestant: tuple[str, ...] = ()
    passages: tuple[int, ...] = (10, 50, 200)
    rounds: int = 7
    budget_s: float = 180.0
    sizes: Sizes = "published"

    def __post_init__(self) -> None:
        check_positive(self, "passages", "rounds", "budget_s")


@dataclass(frozen=True, slots=True)
class _Workload:
    """The requests of one number of passages.

    Attributes:
        passages: Passages of each request.
        requests: One request to warm up, then one per round.
        tokens: Tokens of all pairs of each round's request, by our tokenizer, whole and with special tokens.
        long_share: Share of the rounds' pairs that are longer than `MAX_TOKENS`.
    """

    passages: int
    requests: tuple[BenchRequest, ...]
    tokens: tuple[int, ...]
    long_share: float


def _workload(data: Path, passages: int, rounds: int) -> _Workload:
    requests = mixed_requests(data, passages, rounds + 1)
    tokenizer = load_tokenizer(resolve(None))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lengths = [[len(e) for e in tokenizer.encode_batch([(r.query, p) for p in r.passages])] for r in requests[1:]]
    long = sum(length > MAX_TOKENS for request in lengths for length in request)
    return _Workload(passages, tuple(requests), tuple(map(sum, lengths)), long / (rounds * passages))


def _row(
    contestant: Contestant, precision: str, result: Result, ours: Timing, memory: str, work: _Workload
) -> list[str]:
    """Return a row of the table; there may be more of our calls than of the contestant's, or fewer."""
    head = [contestant.about, str(work.passages), contestant.does, precision]
    seconds = result.timing.seconds
    if not seconds:
        return [*head, result.skipped, *[ABSENT] * (len(HEADER) - len(head) - 1)]
    calls, total = len(seconds), sum(seconds)
    relative = [ABSENT, ABSENT]
    both = min(calls, len(ours.seconds))
    if contestant.name == OURS:
        relative = ["1", ""]
    elif both:
        relative = ratio_cells(Timing("", seconds[:both]), Timing("", ours.seconds[:both]))
    rates = [shown_rate(work.passages * calls / total), shown_rate(sum(work.tokens[:calls]) / total)]
    return [*head, *rates, median_ms(seconds), percentile_ms(seconds, 95), str(calls), *relative, memory]


def _measure(
    contestant: Contestant, loaded: Loaded, ours: Loaded, work: _Workload, workplace: Workplace, budget_s: float
) -> list[str]:
    """Measure the memory of a contestant in a process of its own, then race it against ours.

    Memory first: a contestant that does not fit there is not tried here, beside ours.
    """
    memory, nothing = ABSENT, Timing(contestant.name, ())
    skipped = over_budget(expected_seconds(loaded, work.requests[0]), budget_s)
    # A floor has our engine in memory too, which makes its batches.
    if not skipped and contestant.does != "network only":
        log.info("memory of %s on %d passages", contestant.name, work.passages)
        try:
            memory = shown_mb(contestant_peak_bytes(contestant.name, workplace, work.requests[1]))
        except OutOfMemoryError as error:
            skipped = f"not run: {error}"
    if skipped:
        return _row(contestant, loaded.precision, Result(nothing, skipped), nothing, memory, work)
    results = race({OURS: ours, contestant.name: loaded}, work.requests, budget_s)
    return _row(contestant, loaded.precision, results[contestant.name], results[OURS].timing, memory, work)


def _versions() -> str:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def measure_peers(data: Path, options: PeerOptions) -> BenchTable:
    """Race each contestant against ours, and measure its memory.

    Raises:
        InputError: A contestant is unknown.
        DataError: The data has too few passages.
    """
    contestants = find_contestants(options.contestant)
    workloads = [_workload(data, passages, options.rounds) for passages in sorted(set(options.passages))]
    rows: list[list[list[str]]] = []
    left_out = []
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as folder:
        workplace = Workplace(Path(folder), options.sizes)
        ours = CONTESTANTS[OURS].load(workplace)
        for contestant in contestants:
            log.info("loading %s", contestant.name)
            try:
                loaded = ours if contestant.name == OURS else contestant.load(workplace)
            except (ImportError, MissingExtraError) as error:
                left_out.append(f"{contestant.about}: {error}")
                continue
            rows.append([_measure(contestant, loaded, ours, work, workplace, options.budget_s) for work in workloads])
            del loaded
            gc.collect()
    long_share = max(work.long_share for work in workloads)
    note = _NOTE.format(rounds=options.rounds, budget=options.budget_s, long=long_share, max_tokens=MAX_TOKENS)
    missing = f" Left out: {'; '.join(left_out)}." if left_out else ""
    by_workload = [row for of_workload in zip(*rows, strict=True) for row in of_workload]
    return BenchTable(HEADER, by_workload, f"{note}{missing} {_versions()}.")
