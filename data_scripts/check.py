"""Checking a labelled data set before anything is trained on it: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secateur.labelled.examples import Example, LabelledPassage, data_files, parse_example
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage

_SHOWN = 5  # places that are named of each problem
_MANY = 0.9  # share of units that are labelled in a passage that is labelled as a whole
_SKEW = 0.95

# Problem: whether it stops training, and what to do.
_PROBLEMS = {
    "broken line": (True, "repair or remove it; the schema stands in labelled/examples.py"),
    "id stands twice": (True, "give each query of a file an id of its own"),
    "blank query": (False, "it is left out"),
    "no passages": (False, "it is left out"),
    "passage without text": (False, "it is left out"),
    "relevant passage without a span": (False, "nothing can be learned from it; label its answering sentences"),
    "span matches no sentence": (False, "it covers only white space; check the offsets"),
    "irrelevant passage with spans": (True, "set relevant to true, or remove relevant_spans"),
    "passage labelled as a whole": (False, "the model learns nothing of choosing; label the answering sentences only"),
    "same passage twice in a query": (False, "remove one"),
    "same passage labelled differently for one query": (True, "decide which label is right"),
}


@dataclass(slots=True)
class SourceReport:
    """What was found in one file.

    Attributes:
        name: of the file.
        queries: read.
        passages: read.
        relevant: passages that answer.
        units: of all passages.
        kept: units that overlap a span.
        counts: how often each problem came up.
        places: the first places of each problem.
    """

    name: str
    queries: int = 0
    passages: int = 0
    relevant: int = 0
    units: int = 0
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def found(self, problem: str, place: str) -> None:
        """Note a problem."""
        self.counts[problem] += 1
        places = self.places.setdefault(problem, [])
        if len(places) < _SHOWN:
            places.append(place)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in a data set."""

    sources: tuple[SourceReport, ...]

    @property
    def general(self) -> list[str]:
        """What is wrong with the data as a whole."""
        passages = sum(source.passages for source in self.sources)
        relevant = sum(source.relevant for source in self.sources)
        kept = sum(source.kept for source in self.sources)
        if not passages:
            return ["there is no passage"]
        if not relevant or not kept:
            return ["no passage is labelled as relevant: nothing can be learned; is the data labelled?"]
        if relevant == passages:
            return ["every passage is relevant: the model cannot learn to drop one; add passages that do not answer"]
        found = []
        for name, share in (("relevant", relevant / passages), ("irrelevant", 1 - relevant / passages)):
            if share > _SKEW:
                found.append(f"{share:.0%} of all passages are {name}: the relevance head learns little from that")
        return found

    @property
    def usable(self) -> bool:
        """Whether it can be trained on as it is."""
        blocking = any(_PROBLEMS[problem][0] for source in self.sources for problem in source.counts)
        relevant = any(source.kept for source in self.sources)
        negative = any(source.passages > source.relevant for source in self.sources)
        return not blocking and relevant and negative

    def lines(self) -> Iterator[str]:
        """Yield the report, a line at a time."""
        for source in self.sources:
            share = source.kept / source.units if source.units else 0.0
            yield (
                f"{source.name}: {source.queries} queries, {source.passages} passages, {source.relevant} of them "
                f"relevant, {share:.0%} of {source.units} units to be kept"
            )
            for problem, count in source.counts.most_common():
                stops, hint = _PROBLEMS[problem]
                yield f"  {'error' if stops else 'warning'}: {problem}, {count} times: {hint}"
                yield f"    {'; '.join(source.places[problem])}"
        for line in self.general:
            yield f"error: {line}" if not self.usable else f"warning: {line}"
        yield "it can be trained on" if self.usable else "it cannot be trained on as it is"


def _check_passage(
    report: SourceReport, passage: LabelledPassage, place: str, segmenter: Segmenter, seen: dict[str, bool]
) -> None:
    text = passage.passage.text
    report.passages += 1
    report.relevant += passage.relevant
    if not text.strip():
        report.found("passage without text", place)
        return
    if text in seen:
        same = seen[text] == passage.relevant
        report.found(
            "same passage twice in a query" if same else "same passage labelled differently for one query", place
        )
    seen[text] = passage.relevant
    units = segment(Passage(text), segmenter)
    kept = sum(passage.unit_labels(units))
    report.units += len(units)
    report.kept += kept
    if passage.relevant and not passage.spans:
        report.found("relevant passage without a span", place)
    if not passage.relevant and passage.spans:
        report.found("irrelevant passage with spans", place)
    if any(not text[start:end].strip() for start, end in passage.spans):
        report.found("span matches no sentence", place)
    if len(units) > 2 and kept > _MANY * len(units):
        report.found("passage labelled as a whole", place)


def _check_example(report: SourceReport, example: Example, line: int, segmenter: Segmenter, ids: set[str]) -> None:
    place = f"line {line}, query {example.id!r}"
    report.queries += 1
    if example.id in ids:
        report.found("id stands twice", place)
    ids.add(example.id)
    if not example.query.strip():
        report.found("blank query", place)
    if not example.passages:
        report.found("no passages", place)
    seen: dict[str, bool] = {}
    for number, passage in enumerate(example.passages):
        _check_passage(report, passage, f"{place}, passages[{number}]", segmenter, seen)


def check_data(path: Path, segmenter: str = "nupunkt") -> CheckReport:
    """Look through labelled examples for what would spoil a training.

    Args:
        path: a JSON-lines file, gzipped or not, or a directory of them.
        segmenter: sentence segmenter of the model to be.

    Raises:
        DataError: there is no such file, or one cannot be read at all.
    """
    cut = get_segmenter(segmenter)
    reports = []
    for file in data_files(path):
        report = SourceReport(file.name)
        ids: set[str] = set()
        for number, line in filled_lines(file):
            try:
                example = parse_example(parse_json(line), number)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                report.found("broken line", f"line {number}: {type(error).__name__}: {error}")
                continue
            _check_example(report, example, number, cut, ids)
        reports.append(report)
    return CheckReport(tuple(reports))
