"""Speed and memory of our engine beside its bare runtimes and its peers, in one process (`secateur bench peers`)."""

from __future__ import annotations

import gc
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contestants.base import MAX_TOKENS, Contestant, Loaded, Sizes, Workplace
from benchmarks.contestants.registry import CONTESTANTS, OURS, find_contestants
from benchmarks.latency import percentile_ms, shown_ms, shown_rate
from benchmarks.memory import OutOfMemoryError, contestant_peak_bytes
from benchmarks.race import Result, expected_seconds, race
from benchmarks.report import BenchTable
from benchmarks.workload import BenchRequest, Timing, mixed_requests, paired_ratio
from secateur.models.checkpoint import load_tokenizer, resolve
from secateur.models.errors import InputError, MissingExtraError

log = logging.getLogger(__name__)

HEADER = (
    "",
    "passages a call",
    "does",
    "weights",
    "passages a second",
    "tokens a second",
    "p50",
    "p95",
    "calls",
    "its time / ours",
    "range",
    "peak memory",
)
_NONE = "–"
_PACKAGES = ("openvino", "onnxruntime", "torch", "transformers", "sentence-transformers", "flashrank")


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """How contestants are raced.

    Attributes:
        contestants: their names; none of them means all.
        passages: of a call; one workload for each number.
        rounds: timed calls of each contestant on each workload.
        budget_s: seconds that a contestant's timed calls on a workload may take; slower ones get fewer rounds or none.
        sizes: of the networks with random weights.
    """

    contestants: tuple[str, ...] = ()
    passages: tuple[int, ...] = (10, 50, 200)
    rounds: int = 7
    budget_s: float = 180.0
    sizes: Sizes = "published"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError("--rounds", f"{self.rounds} is too few", "give 1 or more")
        if not self.passages or min(self.passages) < 1:
            raise InputError("--passages", f"{self.passages} is no list of numbers of passages", "say e.g. 10,50,200")
        if self.budget_s <= 0:
            raise InputError("--budget-s", f"{self.budget_s:g} s is no time", "give more than 0")


@dataclass(frozen=True, slots=True)
class _Workload:
    """The requests of one number of passages.

    Attributes:
        passages: of each request.
        requests: the first one to warm up, then one a round.
        tokens: of all pairs of each round's request, by our tokenizer, whole and with special tokens.
        long_share: share of the rounds' pairs that are longer than `MAX_TOKENS`.
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is said of a contestant on a workload.

    Attributes:
        contestant: who.
        precision: of its weights.
        result: its calls.
        ours: our calls between them.
        memory: its peak, for the table.
    """

    contestant: Contestant
    precision: str
    result: Result
    ours: Timing
    memory: str


def _row(entry: _Entry, workload: _Workload) -> list[str]:
    """Return a row of the table; there may be more of our calls than of the entry's, or fewer."""
    head = [entry.contestant.about, str(workload.passages), entry.contestant.does, entry.precision]
    seconds = entry.result.timing.seconds
    if not seconds:
        return [*head, entry.result.skipped, *[_NONE] * (len(HEADER) - len(head) - 1)]
    calls, total = len(seconds), sum(seconds)
    ratio, range_ = _NONE, ""
    both = min(calls, len(entry.ours.seconds))
    if entry.contestant.name == OURS:
        ratio = "1"
    elif both:
        middle, low, high = paired_ratio(Timing("", seconds[:both]), Timing("", entry.ours.seconds[:both]))
        ratio, range_ = f"{middle:.2f}", f"{low:.2f} to {high:.2f}"
    return [
        *head,
        shown_rate(workload.passages * calls / total),
        shown_rate(sum(workload.tokens[:calls]) / total),
        shown_ms(percentile_ms(seconds, 50)),
        shown_ms(percentile_ms(seconds, 95)),
        str(calls),
        ratio,
        range_,
        entry.memory,
    ]


def _memory(contestant: Contestant, workplace: Workplace, request: BenchRequest) -> str:
    # A floor has our engine in memory too, which makes its batches.
    if contestant.does == "network only":
        return _NONE
    log.info("memory of %s on %d passages", contestant.name, len(request.passages))
    return f"{contestant_peak_bytes(contestant.name, workplace, request) / 1e6:,.0f} MB"


def _measure(
    contestant: Contestant, loaded: Loaded, ours: Loaded, workload: _Workload, workplace: Workplace, budget_s: float
) -> _Entry:
    """Measure a contestant's memory in a process of its own, then race it against ours.

    Memory first: what would not fit there is not tried here, beside us.
    """
    nothing = Timing(contestant.name, ())
    expected = expected_seconds(loaded, workload.requests[0])
    if expected > budget_s:
        skipped = f"not run: a call would take some {expected:.0f} s, and its budget is {budget_s:g} s"
        return _Entry(contestant, loaded.precision, Result(nothing, skipped), nothing, _NONE)
    try:
        memory = _memory(contestant, workplace, workload.requests[1])
    except OutOfMemoryError as error:
        return _Entry(contestant, loaded.precision, Result(nothing, f"not run: {error}"), nothing, _NONE)
    results = race({OURS: ours, contestant.name: loaded}, workload.requests, budget_s)
    return _Entry(contestant, loaded.precision, results[contestant.name], results[OURS].timing, memory)


def _versions() -> str:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _note(options: PeerOptions, long_share: float, left_out: Sequence[str]) -> str:
    sentences = [
        "A call is one query with that many real passages of mixed lengths; each contestant takes turns with Secateur "
        f"on the same calls, {options.rounds} rounds, fewer where its calls of one workload would take more than "
        f"{options.budget_s:g} s. No other is in memory meanwhile.",
        "Times are compared call by call: median and range.",
        f"Tokens are those of whole pairs by Secateur's tokenizer; up to {long_share:.1%} of a workload's pairs have "
        f"more than the {MAX_TOKENS} that the models read at once: what prunes reads those in several windows, what "
        "only ranks cuts them.",
        "CrossEncoder and FlashRank have the encoder that Secateur's model was fine-tuned from. Networks with random "
        "weights cost what trained ones do; they run in Secateur's engine, on its tokenizer's tokens, so their times "
        "are those of their networks at their published sizes.",
        "The floors are handed finished batches. Peak memory is of a fresh process that loads the contestant and makes "
        "one call.",
    ]
    if left_out:
        sentences.append(f"Left out: {'; '.join(left_out)}.")
    return " ".join([*sentences, f"{_versions()}."])


def measure_peers(data: Path, options: PeerOptions | None = None) -> BenchTable:
    """Race each contestant against ours, and measure its memory.

    Args:
        data: labelled examples to take queries and passages from.
        options: how.

    Raises:
        InputError: an unknown contestant.
        DataError: there are too few passages.
    """
    options = options or PeerOptions()
    contestants = find_contestants(options.contestants)
    workloads = [_workload(data, passages, options.rounds) for passages in sorted(set(options.passages))]
    entries: dict[str, list[_Entry]] = {}
    left_out = []
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as folder:
        workplace = Workplace(Path(folder), options.sizes)
        ours = CONTESTANTS[OURS].load(workplace)
        for contestant in contestants:
            log.info("loading %s", contestant.name)
            try:
                loaded = ours if contestant.name == OURS else contestant.load(workplace)
            except MissingExtraError as error:
                left_out.append(f"{contestant.about}: {error}")
                continue
            entries[contestant.name] = [
                _measure(contestant, loaded, ours, workload, workplace, options.budget_s) for workload in workloads
            ]
            del loaded
            gc.collect()
    rows = [_row(of[number], workload) for number, workload in enumerate(workloads) for of in entries.values()]
    return BenchTable(HEADER, rows, _note(options, max(w.long_share for w in workloads), left_out))
