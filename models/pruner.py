"""The `Pruner`: segment, encode, run, merge, select, for one query or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from secateur.models.families import FamilyEncoder, read_family
from secateur.models.merging import PassageScores, WindowOutput, merge, window_outputs
from secateur.models.options import PruneOptions, with_options
from secateur.models.requests import CheckedRequest, PassageLike, as_integer, check_request
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.selection import ScoredPassage, Selection, join_spans, kept_spans, select
from secateur.models.sums import check_sums, warn_unsummed
from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult, Timings, Unit, UnitScore, Usage

_PORTION = 1 << 16  # characters
_SHORT = 64  # characters that a passage counts for at least


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request as the network reads it.

    Attributes:
        checked: the request.
        threshold: that its options ask for.
        query_tokens: number of tokens of the query, after it was cut.
        units: of each passage.
        passages: as windows.
        warnings: what had to be changed.
    """

    checked: CheckedRequest
    threshold: float
    query_tokens: int
    units: list[list[Unit]]
    passages: list[EncodedPassage]
    warnings: tuple[str, ...]


class Pruner:
    """Prunes and reranks passages for a query. Made by `Pruner.load`; safe to share between threads and with children.

    A forked child opens the model itself on first use. Pickling carries the arguments of `load`: the process that
    unpickles loads the model, once for all copies with the same arguments. A copy is the same object.

    Args:
        config: the model's own settings.
        encoder: for the model's tokenizer and window.
        backend: a loaded runtime.
        calibration: thresholds by target recall, if the model has them.
        pad_id: the tokenizer's padding token.
        directory: where the model was loaded from, if it was.
    """

    def __init__(
        self,
        config: ModelConfig,
        encoder: PairEncoder,
        backend: Backend,
        calibration: Calibration | None,
        pad_id: int,
        directory: Path | None = None,
    ) -> None:
        self.config = config
        self.encoder = encoder
        self.backend = backend
        self.calibration = calibration
        self.pad_id = pad_id
        self.directory = directory
        self._arguments: tuple[str | None, Mapping[str, Any]] | None = None  # of `load`
        self._segmenter = get_segmenter(config.segmenter)

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
            name_or_path: a model directory, the directory of a published Provence, XProvence or OpenProvence
                checkpoint, or the name of a shipped model; None for the default one.
            backend: `auto`, `openvino`, `onnx` or `torch`.
            device: `auto`, `cpu` or `cuda`.
            precision: of the ONNX file: `int8`, `fp16`, or `auto` for the faster one on this hardware.
            threads: of CPU runtimes; None for one a processor.
            verify: compare the files that are used with the sums in the model's `secateur.sha256`.

        Raises:
            ModelError: the directory is missing or broken, or a file differs from its sum.
            InputError: an unknown backend, device or precision.
            MissingExtraError: the runtime is not installed.
        """
        directory = resolve(name_or_path)
        summed = check_sums(directory, (CONFIG, TOKENIZER, CALIBRATION)) if verify else True
        family = read_family(directory)
        if family is None and not summed:
            warn_unsummed(directory)
        config = read_config(directory) if family is None else family.settings(directory)
        tokenizer = load_tokenizer(directory)
        if family is None:
            encoder = PairEncoder(tokenizer, config.window)
        else:
            encoder = FamilyEncoder(tokenizer, config.window, family)
        calibration = Calibration.read(directory)
        pad_id = read_encoder_config(directory).get("pad_token_id")
        runtime = load_backend(directory, backend, device, precision, threads, verify=verify)
        pruner = cls(config, encoder, runtime, calibration, pad_id if isinstance(pad_id, int) else 0, directory)
        # The name of a shipped model means it on every machine; a path is made independent of the working directory.
        given = None if name_or_path is None else str(name_or_path)
        shipped = given is None or not Path(given).is_dir()
        choices = {
            "backend": backend,
            "device": device,
            "precision": precision,
            "threads": as_integer(threads),
            "verify": verify,
        }
        pruner._arguments = given if shipped else str(directory.absolute()), choices
        return pruner

    def __reduce__(self) -> tuple[Callable[..., Pruner], tuple[Any, ...]]:
        if self._arguments is None:
            raise InputError(
                "pruner", "was made of parts, which cannot be pickled", "make it by Pruner.load, or in each process"
            )
        name_or_path, choices = self._arguments
        return _loaded, (type(self), name_or_path, *choices.items())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @with_options
    def prune(self, query: str, passages: Sequence[PassageLike], **options: Any) -> PruneResult:
        """Prune and rerank passages for a query.

        Args:
            query: the user's question.
            passages: strings, `Passage`s, or mappings with a `Passage`'s fields.
            options: the fields of `PruneOptions`.

        Raises:
            InputError: an argument is wrong; the message names it.
        """
        return self._run([check_request(query, passages, PruneOptions(**options))])[0]

    def prune_request(self, request: PruneRequest) -> PruneResult:
        """Prune one `PruneRequest`; see `prune`."""
        return self._run([check_request(request.query, request.passages, request.options)])[0]

    def prune_many(self, requests: Sequence[PruneRequest]) -> list[PruneResult]:
        """Prune for several queries at once, batching across them; results come in the order of the requests.

        The timings of each result are those of the whole call.

        Raises:
            InputError: a request is wrong; the message names it and the field.
        """
        checked = []
        for index, request in enumerate(requests):
            try:
                checked.append(check_request(request.query, request.passages, request.options))
            except InputError as error:
                raise InputError(f"requests[{index}].{error.field}", error.problem, error.hint) from error
        return self._run(checked) if checked else []

    def threshold_for(self, options: PruneOptions) -> float:
        """Return the keep threshold that options ask for: given, calibrated, or the model's default.

        Raises:
            InputError: a target recall that the model is not calibrated for.
        """
        if options.threshold is not None:
            return options.threshold
        if options.target_recall is None:
            return self.config.threshold
        if self.calibration is None:
            raise InputError(
                "target_recall",
                f"model {self.config.name!r} has no calibration.json",
                "give a threshold, or use a calibrated model",
            )
        threshold = self.calibration.threshold_for(options.target_recall)
        if threshold is None:
            raise InputError(
                "target_recall",
                f"{options.target_recall!r} is above what model {self.config.name!r} is calibrated for",
                f"give at most {max(self.calibration.thresholds, default=0)}",
            )
        return threshold

    def encode(self, request: CheckedRequest, watch: Callable[[int], None] = lambda units: None) -> EncodedRequest:
        """Segment and encode a checked request.

        Args:
            request: the request.
            watch: called often with the number of units found since the last call; may raise to stop the work.

        Raises:
            InputError: the query is too long, or the model is not calibrated for the target recall.
        """

        def split(text: str) -> list[int]:
            ends = self._segmenter(text)
            watch(max(1, len(ends)))
            return ends

        query, passages, options = request.request.query, request.request.passages, request.request.options
        threshold = self.threshold_for(options)
        query_ids, query_cut = self.encoder.encode_query(query, truncate=options.truncate_query)
        units: list[list[Unit]] = []
        encoded: list[EncodedPassage] = []
        for some in _portions(passages):
            its_units = [segment(p, split) for p in some]
            watch(0)
            units += its_units
            encoded += self.encoder.encode(query_ids, some, its_units)
        warnings = list(request.warnings)
        if query_cut:
            warnings.append(f"query: cut to its first {len(query_ids)} tokens")
        warnings += [f"passages[{i}].title: cut to fit the window" for i, e in enumerate(encoded) if e.title_cut]
        return EncodedRequest(request, threshold, len(query_ids), units, encoded, tuple(warnings))

    def run(self, windows: Sequence[Window]) -> list[WindowOutput]:
        """Run windows of any requests; their outputs come in the same order.

        Raises:
            RuntimeOutputError: the runtime returned something that cannot be a score.
            BackendUnusableError: the runtime cannot be used in this process any more.
        """
        batches = make_batches(
            windows, self.backend.limits, pad_id=self.pad_id, passage_type=self.encoder.template.passage_type
        )
        return window_outputs(
            batches, self.backend.run_all(batches), f"model {self.config.name!r} ({self.backend.about})"
        )

    def finish(self, encoded: EncodedRequest, scores: Sequence[PassageScores], timings: Timings) -> PruneResult:
        """Select what is kept, by the scores of each passage."""
        request = encoded.checked.request
        scored = [
            ScoredPassage(index, passage, units, windows.unit_tokens, its_scores)
            for index, (passage, units, windows, its_scores) in enumerate(
                zip(request.passages, encoded.units, encoded.passages, scores, strict=True)
            )
        ]
        return _result(encoded, scored, timings)

    def _run(self, requests: Sequence[CheckedRequest]) -> list[PruneResult]:
        started = time.perf_counter()
        encoded = [self.encode(request) for request in requests]
        windows = [window for one in encoded for passage in one.passages for window in passage.running]
        tokenized = time.perf_counter()
        outputs = iter(self.run(windows))
        inferred = time.perf_counter()
        scores = [[merge(p, list(islice(outputs, len(p.running)))) for p in one.passages] for one in encoded]
        timings = Timings(
            queue_ms=0.0,
            tokenize_ms=(tokenized - started) * 1e3,
            inference_ms=(inferred - tokenized) * 1e3,
            total_ms=(time.perf_counter() - started) * 1e3,
        )
        return [self.finish(one, its_scores, timings) for one, its_scores in zip(encoded, scores, strict=True)]


@cache  # a pool pickles what it calls for every task
def _loaded(kind: type[Pruner], name_or_path: str | None, *choices: tuple[str, Any]) -> Pruner:
    return kind.load(name_or_path, **dict(choices))


def _portions(passages: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
    """Yield passages some at a time: enough for the tokenizer to work on side by side, few enough to stop soon."""
    start = characters = 0
    for number, passage in enumerate(passages, 1):
        characters += max(_SHORT, len(passage.text) + len(passage.title or ""))
        if characters >= _PORTION or number == len(passages):
            yield passages[start:number]
            start, characters = number, 0


def _passage_result(selection: Selection, options: PruneOptions) -> PassageResult:
    scored, kept = selection.scored, selection.kept
    passage = scored.passage
    spans = kept_spans(passage.text, scored.units, kept)
    units = None
    if options.return_units:
        units = tuple(
            UnitScore(unit.start, unit.end, unit.kind, float(score), bool(keep), int(tokens))
            for unit, score, keep, tokens in zip(
                scored.units, scored.scores.units, kept, scored.unit_tokens, strict=True
            )
        )
    return PassageResult(
        index=scored.index,
        id=passage.id,
        score=scored.scores.relevance,
        text=join_spans(passage.text, spans, options.joiner),
        spans=spans,
        kept_units=int(kept.sum()),
        total_units=len(scored.units),
        empty=not spans,
        metadata=passage.metadata,
        units=units,
    )


def _result(one: EncodedRequest, scored: Sequence[ScoredPassage], timings: Timings) -> PruneResult:
    options = one.checked.request.options
    selections = select(scored, options, one.threshold)
    input_tokens = sum(int(s.unit_tokens.sum()) for s in scored)
    output_tokens = sum(selection.tokens for selection in selections)
    return PruneResult(
        results=tuple(_passage_result(selection, options) for selection in selections),
        threshold=one.threshold,
        usage=Usage(
            query_tokens=one.query_tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            compression=1 - output_tokens / input_tokens if input_tokens else 0.0,
        ),
        timings=timings,
        warnings=one.warnings,
    )
