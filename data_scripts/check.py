"""Checking labelled examples before training: which problems they have, where, and how to fix them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secateur.data_scripts.reports import Problems, UnitCounts
from secateur.labelled.examples import Example, LabelledPassage, data_files, parse_example
from secateur.labelled.readable import is_scored
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import InputError
from secateur.models.segmentation import segment
from secateur.models.segmenters import Segmenter, get_segmenter

_WHOLE = 0.9  # share of labelled units above which a passage counts as labelled as a whole
_SKEWED = 0.95  # share of relevant or irrelevant passages above which a data set is skewed

# For each problem: whether it prevents training, and the hint.
_PROBLEMS = {
    "broken line": (True, "repair or remove it; labelled/examples.py describes the schema"),
    "repeated id": (True, "give each query of a file its own id"),
    "blank query": (False, "it is ignored"),
    "no passages": (False, "it is ignored"),
    "passage without text": (False, "it is ignored"),
    "relevant passage without a span": (False, "nothing can be learned from it; label its answering sentences"),
    "span without text": (False, "it covers only white space; check the offsets"),
    "irrelevant passage with spans": (True, "set relevant to true, or remove relevant_spans"),
    "passage labelled as a whole": (False, "the model does not learn to choose; label only the answering sentences"),
    "repeated passage": (False, "remove one"),
    "repeated passage with another label": (True, "decide which label is right"),
}


@dataclass(slots=True)
class SourceReport(UnitCounts):
    """Findings in one file."""

    name: str = ""
    queries: int = 0
    relevant: int = 0
    problems: Problems = field(default_factory=Problems)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Findings in a data set."""

    sources: tuple[SourceReport, ...]

    def _total(self, field: str) -> int:
        return sum(getattr(source, field) for source in self.sources)

    @property
    def general(self) -> list[str]:
        """Problems of the data set as a whole."""
        passages, relevant = self._total("passages"), self._total("relevant")
        if not passages:
            return ["there are no passages"]
        if not relevant or not self._total("kept"):
            return ["no passage is labelled as relevant, so nothing can be learned; label the data first"]
        if relevant == passages:
            return ["every passage is relevant, so the model cannot learn to drop one; add irrelevant passages"]
        shares = {"relevant": relevant / passages, "irrelevant": 1 - relevant / passages}
        return [
            f"{share:.0%} of all passages are {name}; the rank head learns little from that"
            for name, share in shares.items()
            if share > _SKEWED
        ]

    @property
    def usable(self) -> bool:
        """Whether the data set can be trained on."""
        prevented = any(_PROBLEMS[problem][0] for source in self.sources for problem in source.problems.counts)
        return not prevented and self._total("kept") > 0 and self._total("passages") > self._total("relevant")

    def lines(self) -> Iterator[str]:
        """Yield the lines of the printed report."""
        for source in self.sources:
            share = source.kept / source.units if source.units else 0.0
            yield (
                f"{source.name}: {source.queries} queries, {source.passages} passages ({source.relevant} relevant), "
                f"{source.units} units ({share:.0%} kept)"
            )
            for problem, count in source.problems.counts.most_common():
                prevents, hint = _PROBLEMS[problem]
                yield f"  {'error' if prevents else 'warning'}: {problem} ({count}): {hint}"
                yield f"    {'; '.join(source.problems.places[problem])}"
        for line in self.general:
            yield f"{'warning' if self.usable else 'error'}: {line}"
        yield f"the data {'can' if self.usable else 'cannot'} be used for training"


def _check_passage(
    report: SourceReport, passage: LabelledPassage, place: str, segmenter: Segmenter, seen: dict[str, bool]
) -> None:
    text = passage.passage.text
    segmented = segment(passage.passage, segmenter) if text.strip() else []
    units = [unit for unit in segmented if is_scored(text, unit)]
    labels = passage.unit_labels(units)
    report.add(labels)
    report.relevant += passage.relevant
    if not text.strip():
        report.problems.add("passage without text", place)
        return
    if text in seen:
        same = seen[text] == passage.relevant
        report.problems.add("repeated passage" if same else "repeated passage with another label", place)
    seen[text] = passage.relevant
    for found, problem in (
        (passage.relevant and not passage.spans, "relevant passage without a span"),
        (not passage.relevant and passage.spans, "irrelevant passage with spans"),
        (any(not text[start:end].strip() for start, end in passage.spans), "span without text"),
        (len(units) > 2 and sum(labels) > _WHOLE * len(units), "passage labelled as a whole"),
    ):
        if found:
            report.problems.add(problem, place)


def _check_example(report: SourceReport, example: Example, line: int, segmenter: Segmenter, ids: set[str]) -> None:
    place = f"line {line}, query {example.id!r}"
    report.queries += 1
    for found, problem in (
        (example.id in ids, "repeated id"),
        (not example.query.strip(), "blank query"),
        (not example.passages, "no passages"),
    ):
        if found:
            report.problems.add(problem, place)
    ids.add(example.id)
    seen: dict[str, bool] = {}
    for number, passage in enumerate(example.passages):
        _check_passage(report, passage, f"{place}, passages[{number}]", segmenter, seen)


def check_data(path: Path, segmenter: str = "nupunkt") -> CheckReport:
    """Check a file or a directory of labelled examples with the segmenter of the model that will be trained.

    Raises:
        DataError: There is no such file, or it cannot be read. Lines that are not valid are in the report.
        InputError: The segmenter is unknown.
    """
    segment_sentences = get_segmenter(segmenter)
    reports = []
    for file in data_files(path):
        report = SourceReport(name=file.name)
        ids: set[str] = set()
        for number, line in filled_lines(file):
            try:
                example = parse_example(parse_json(line), number)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
                report.problems.add("broken line", f"line {number}: {type(error).__name__}: {error}")
            else:
                _check_example(report, example, number, segment_sentences, ids)
        reports.append(report)
    return CheckReport(tuple(reports))
