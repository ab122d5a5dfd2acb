"""The `Pruner`: segment, encode, run, merge and select, for one query or many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Self

from secateur.models.backends import Backend, load_backend
from secateur.models.batching import make_batches
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import (
    CALIBRATION,
    CONFIG,
    TOKENIZER,
    ModelConfig,
    load_tokenizer,
    read_config,
    read_encoder_config,
    resolve,
)
from secateur.models.encoding import EncodedPassage, PairEncoder, Window
from secateur.models.errors import InputError
from secateur.models.families.known import FamilyEncoder, read_family
from secateur.models.merging import PassageScores, WindowOutput, merge, window_outputs
from secateur.models.options import PruneOptions, with_options
from secateur.models.registry import ModelChoice
from secateur.models.requests import CheckedRequest, PassageLike, check_request, check_requests
from secateur.models.segmentation import format_of, segment
from secateur.models.segmenters import get_segmenter
from secateur.models.selection import SelectablePassage, passage_result, select, usage_of
from secateur.models.sums import SUMS, check_sums
from secateur.models.types import Passage, PruneRequest, PruneResult, Timings, Unit

log = logging.getLogger(__name__)

_GROUP = 1 << 16  # characters of the passages that are segmented and encoded together
_NOTED = 0.1  # share of unreadable text from which there is a warning
_UNREADABLE = 0.5  # and above which a passage is returned whole
_SHORTEST = 64  # characters that every passage counts for at least


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request as the network reads it: the units and the windows of each passage.

    Attributes:
        threshold: Keep threshold of its options.
        query_tokens: Number of tokens of the query, after truncation.
        query_unreadable: Share of the query that the model cannot read, in [0, 1].
        formats: Format by which each passage was cut.
        warnings: Changes that were made to the request.
    """

    checked: CheckedRequest
    threshold: float
    query_tokens: int
    query_unreadable: float
    formats: list[str]
    units: list[list[Unit]]
    passages: list[EncodedPassage]
    warnings: tuple[str, ...]


@dataclass(eq=False, repr=False)
class Pruner:
    """Prunes and reranks passages for a query. Use `Pruner.load` to create one.

    It can be shared between threads and with forked children, which open the model themselves on first use. Pickling
    stores the arguments of `load`; the process that unpickles loads the model once for all copies with the same
    arguments. `copy` returns the same object.

    Args:
        config: Name, window, segmenter and default threshold of the model.
        encoder: Makes the windows of a query and a passage.
        backend: Runs them.
        calibration: Thresholds by target recall; None if the model is not calibrated.
        pad_id: Padding token of the tokenizer.
        directory: Directory of the model, if it was loaded from one.
    """

    config: ModelConfig
    encoder: PairEncoder
    backend: Backend
    calibration: Calibration | None
    pad_id: int
    directory: Path | None = None
    _choice: ModelChoice | None = field(default=None, init=False)  # arguments of `load`

    def __post_init__(self) -> None:
        self._segmenter = get_segmenter(self.config.segmenter, self.directory)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path | None = None,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        verify: bool = True,
    ) -> Pruner:
        """Load a model.

        Args:
            name_or_path: Name of a shipped model, a model directory, or the directory of a published Provence,
                XProvence or OpenProvence checkpoint; None for the default model.
            backend: `auto`, `openvino`, `onnx` or `torch`.
            device: `auto`, `cpu` or `cuda`.
            precision: Precision of the ONNX file: `int8`, `fp16`, or `auto` for the faster one on this hardware.
            threads: Threads on the CPU; None for one per processor.
            verify: Whether to compare the files that are used with the checksums in `secateur.sha256`.

        Raises:
            ModelError: The directory is missing or not valid, or a file differs from its checksum.
            InputError: The backend, device or precision is unknown.
            MissingExtraError: The backend is not installed.
        """
        directory = resolve(name_or_path)
        # A shipped model has the same name on every machine; a path is made independent of the working directory.
        own = name_or_path is not None and Path(name_or_path).is_dir()
        model = str(directory.absolute() if own else directory.name)
        choice = ModelChoice(model, backend, device, precision, threads, verify)  # type: ignore[arg-type]
        has_sums = not verify or check_sums(directory, (CONFIG, TOKENIZER, CALIBRATION))
        family = read_family(directory)
        if family is None:
            if not has_sums:
                log.warning("%s has no %s; to write it, run: secateur checksum %s", directory, SUMS, directory)
            config = read_config(directory)
            encoder = PairEncoder(load_tokenizer(directory), config.window)
        else:
            config = family.settings(directory)
            encoder = FamilyEncoder(load_tokenizer(directory), config.window, family)
        calibration = Calibration.read(directory)
        pad_id = read_encoder_config(directory).get("pad_token_id")
        loaded = load_backend(directory, choice)
        pruner = cls(config, encoder, loaded, calibration, pad_id if isinstance(pad_id, int) else 0, directory)
        pruner._choice = choice
        return pruner

    def __reduce__(self) -> tuple[Callable[..., Pruner], tuple[Any, ...]]:
        if self._choice is None:
            problem = "was not made by Pruner.load, so it cannot be pickled"
            raise InputError("pruner", problem, "use Pruner.load, or make one in each process")
        return load_once, (self._choice, type(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @with_options
    def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query.

        Args:
            query: Question or instruction, at most half the model's window in tokens unless `truncate_query` is set.
            passages: Strings, `Passage`s, or mappings with the fields of a `Passage`, of any length.
            options: Fields of `PruneOptions`.

        Raises:
            InputError: An argument is not valid; the message names it.
            RuntimeOutputError: The backend returned an invalid score.
            BackendUnusableError: The backend cannot be used in this process any more.
        """
        return self._run([check_request(query, passages, PruneOptions.of(**options))])[0]

    def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `prune`."""
        return self._run([check_request(request.query, request.passages, request.options)])[0]

    def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries, in batches formed across them. Results have the order of the requests.

        The timings of each result are those of the whole call.

        Raises:
            InputError: A request is not valid; the message names it and the field.
        """
        checked = check_requests(requests)
        return self._run(checked) if checked else []

    def threshold_for(self, options: PruneOptions) -> float:
        """Return the keep threshold for options: given, calibrated (else an InputError), or the model's default.

        With `compression` and no threshold it is 0: the units with the highest scores fill what is not dropped.
        """
        if options.threshold is not None:
            return options.threshold
        if options.target_recall is None:
            return self.config.threshold if options.compression is None else 0.0
        model = f"model {self.config.name!r}"
        if self.calibration is None:
            fix = "give a threshold, or use a calibrated model"
            raise InputError("target_recall", f"{model} has no calibration.json", fix)
        threshold = self.calibration.threshold_for(options.target_recall)
        if threshold is None:
            problem = f"{options.target_recall!r} is above what {model} is calibrated for"
            raise InputError("target_recall", problem, f"give at most {max(self.calibration.thresholds, default=0)}")
        return threshold

    def encode(self, request: CheckedRequest, watch: Callable[[int], None] = lambda units: None) -> EncodedRequest:
        """Segment and encode a checked request.

        Args:
            request: The request.
            watch: Called often with the number of units found since the last call; it may raise to stop the work.

        Raises:
            InputError: The query is too long, or the model is not calibrated for the target recall.
        """

        def segmenter(text: str) -> list[int]:
            ends = self._segmenter(text)
            watch(max(1, len(ends)))
            return ends

        options = request.request.options
        threshold = self.threshold_for(options)
        query_ids, query_cut = self.encoder.encode_query(request.request.query, truncate=options.truncate_query)
        formats: list[str] = []
        units: list[list[Unit]] = []
        encoded: list[EncodedPassage] = []
        for group in _groups(request.request.passages):
            known = [replace(passage, format=format_of(passage)) for passage in group]
            formats += [passage.format for passage in known]
            group_units = [segment(passage, segmenter) for passage in known]
            watch(0)
            units += group_units
            encoded += self.encoder.encode(query_ids, group, group_units)
        warnings = list(request.warnings)
        if query_cut:
            warnings.append(f"query: cut to its first {len(query_ids)} tokens")
        warnings += [f"passages[{i}].title: cut to fit the window" for i, e in enumerate(encoded) if e.title_cut]
        query_unreadable = self.encoder.unreadable(request.request.query)
        shares = {"query": query_unreadable} | {f"passages[{i}].text": e.unreadable for i, e in enumerate(encoded)}
        warnings += [
            f"{name}: the model cannot read {share:.0%} of the text"
            for name, share in shares.items()
            if share >= _NOTED
        ]
        return EncodedRequest(
            request, threshold, len(query_ids), query_unreadable, formats, units, encoded, tuple(warnings)
        )

    def run(self, windows: Sequence[Window]) -> list[WindowOutput]:
        """Run windows of any requests, and return their outputs in the same order.

        Raises:
            RuntimeOutputError: The backend returned an invalid score.
            BackendUnusableError: The backend can no longer be used in this process.
        """
        passage_type = self.encoder.template.passage_type
        batches = make_batches(windows, self.backend.limits, pad_id=self.pad_id, passage_type=passage_type)
        source = f"model {self.config.name!r} ({self.backend.about})"
        return window_outputs(batches, self.backend.run_all(batches), source)

    def finish(
        self,
        encoded: EncodedRequest,
        scores: Sequence[PassageScores],
        timings: Timings,
        watch: Callable[[int], None] = lambda units: None,
    ) -> PruneResult:
        """Select what is kept, from the scores of each passage.

        Args:
            encoded: The request.
            scores: Scores of its passages.
            timings: Durations up to here.
            watch: Called often with 0; it may raise to stop the work.
        """
        request, count = encoded.checked.request, self.encoder.count_tokens
        scored = [
            SelectablePassage(
                index,
                passage,
                units,
                windows.unit_tokens,
                passage_scores,
                format,
                unreadable=max(windows.unreadable, encoded.query_unreadable) > _UNREADABLE,
            )
            for index, (passage, format, units, windows, passage_scores) in enumerate(
                zip(request.passages, encoded.formats, encoded.units, encoded.passages, scores, strict=True)
            )
        ]
        selections = select(scored, request.options, encoded.threshold, count, watch)
        missed = sum(selection.missed for selection in selections)
        full = [f"always_keep: matching units did not fit into the token budget: {missed}"] if missed else []
        return PruneResult(
            results=tuple(passage_result(selection, request.options) for selection in selections),
            threshold=encoded.threshold,
            usage=usage_of(encoded.query_tokens, scored, selections, request.options, count),
            timings=timings,
            warnings=(*encoded.warnings, *full),
        )

    def _run(self, requests: Sequence[CheckedRequest]) -> list[PruneResult]:
        started = time.perf_counter()
        encoded = [self.encode(request) for request in requests]
        windows = [window for one in encoded for passage in one.passages for window in passage.running]
        tokenized = time.perf_counter()
        outputs = iter(self.run(windows))
        inferred = time.perf_counter()
        scores = [
            [merge(passage, list(islice(outputs, len(passage.running)))) for passage in one.passages] for one in encoded
        ]
        timings = Timings(
            queue_ms=0.0,
            tokenize_ms=(tokenized - started) * 1e3,
            inference_ms=(inferred - tokenized) * 1e3,
            total_ms=(time.perf_counter() - started) * 1e3,
        )
        return [self.finish(*pair, timings) for pair in zip(encoded, scores, strict=True)]


@cache
def load_once(choice: ModelChoice, kind: type[Pruner] = Pruner) -> Pruner:
    """Return a pruner that this process shares: a process pool unpickles the function it calls for every task."""
    arguments = asdict(choice)
    return kind.load(arguments.pop("model"), **arguments)


def _groups(passages: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
    """Yield passages in groups: large enough for the tokenizer's threads, small enough to stop soon."""
    start = characters = 0
    for number, passage in enumerate(passages, 1):
        characters += max(_SHORTEST, len(passage.text) + len(passage.title or ""))
        if characters >= _GROUP or number == len(passages):
            yield passages[start:number]
            start, characters = number, 0
