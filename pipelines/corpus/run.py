"""`secateur prune-corpus`: write a dataset with its pruned passages in a further column; a killed run resumes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.fingerprints import fingerprint
from secateur.models.checkpoint import resolve
from secateur.models.errors import DataError, InputError
from secateur.models.options import PruneOptions
from secateur.models.registry import ModelChoice
from secateur.models.requests import check_options
from secateur.pipelines.corpus.journal import Journal, open_journal
from secateur.pipelines.corpus.pruning import Item, prune_block, request_of
from secateur.pipelines.corpus.rows import Columns, Corpus, find_columns, form_of, open_corpus, write

log = logging.getLogger(__name__)

_SHOWN = 3  # broken rows in an error message, and warnings in the report
_LOG_SECONDS = 10.0  # between progress messages where no bar can be shown


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How to prune a corpus.

    Attributes:
        columns: Columns of the queries and passages.
        query: Query for all rows, used instead of a column.
        pruning: Options of `Pruner.prune`.
        model: The model and its backend.
        score_only: Whether to write scores of passages and units instead of texts.
        column: Name of the new column.
        keep_broken: Whether to write the error of a broken row to a column of its own instead of stopping.
        block: Rows that run together, and the most that a kill can lose.
        ray: Whether to run on a Ray cluster; the result is the same.
    """

    columns: Columns = field(default_factory=Columns)
    query: str | None = None
    pruning: PruneOptions = field(default_factory=PruneOptions)
    model: ModelChoice = field(default_factory=ModelChoice)
    score_only: bool = False
    column: str = "pruned"
    keep_broken: bool = False
    block: int = 64
    ray: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "pruning", check_options(self.pruning))
        if self.block < 1:
            raise InputError("--block", f"{self.block} is not a number of rows", "give 1 or more")
        if not self.column:
            raise InputError("--column", "is empty", "give the new column a name")

    def as_key(self) -> str:
        """Return the options that an outcome depends on, apart from the model's content."""
        content = asdict(self)
        for name in ("column", "keep_broken", "ray"):
            del content[name]
        del content["model"]["model"], content["model"]["threads"]
        return json.dumps(content, sort_keys=True, default=str)


@dataclass(slots=True)
class CorpusReport:
    """The result of a run: numbers of rows and passages, and the first of the warnings."""

    rows: int = 0
    passages: int = 0  # of the rows that are not broken
    broken: int = 0  # rows
    warned: int = 0  # rows with a warning
    warnings: tuple[str, ...] = ()  # the first ones, each with its row
    earlier: int = 0  # rows that an earlier run finished
    speed: float = 0.0  # passages of the other rows per second

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"{self.rows} rows with {self.passages} passages; {self.broken} rows are broken"]
        if self.warned:
            lines.append(f"{self.warned} rows have warnings: {' | '.join(self.warnings)}")
        if self.earlier:
            lines.append(f"{self.earlier} rows were finished by an earlier run")
        if self.speed:
            lines.append(f"{self.speed:.1f} passages per second")
        return lines


def _check(corpus: Corpus, columns: Columns, options: CorpusOptions) -> tuple[CorpusReport, set[bool]]:
    """Check all rows before any is run; return the counts, and whether rows have a single passage (True) or a list."""
    report = CorpusReport()
    single: set[bool] = set()
    problems: list[str] = []
    for row in corpus.read():
        report.rows += 1
        if options.column in row or f"{options.column}_error" in row:
            raise InputError("--column", f"{corpus.path} has a column {options.column!r} already", "give another name")
        try:
            checked, is_single = request_of(columns.item(row), options.pruning)
        except InputError as error:
            report.broken += 1
            problems += [f"row {report.rows}: {error}"] if len(problems) < _SHOWN else []
        else:
            report.passages += len(checked.request.passages)
            single.add(is_single)
    first = " | ".join(problems)
    if report.broken and not options.keep_broken:
        broken = f"{report.broken} of {report.rows} rows are broken ({first})"
        raise DataError(f"{corpus.path}: {broken}; fix them, or give --keep-broken")
    if report.broken == report.rows:
        raise DataError(f"{corpus.path}: no row can be pruned ({first or 'it is empty'})")
    return report, single


@contextmanager
def _progress(done: int, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of finished rows: in a bar on a terminal, otherwise in the log."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    parts = TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    last = time.monotonic()
    with Progress(*parts, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=total, completed=done)

        def show(rows: int) -> None:
            nonlocal last
            bar.update(task, completed=rows)
            if bar.disable and time.monotonic() - last >= _LOG_SECONDS:
                last = time.monotonic()
                log.info("%d of %d rows", rows, total)

        yield show


def _run(corpus: Corpus, columns: Columns, journal: Journal, rows: int, options: CorpusOptions) -> int:
    """Run the remaining rows; return the number of their passages."""
    passages = 0

    def items() -> Iterator[Item]:
        nonlocal passages
        for row in islice(corpus.read(), journal.done, None):
            item = columns.item(row)
            passages += len(item[1]) if isinstance(item[1], list) else 1
            yield item

    model = options.model
    if options.ray and model.threads is None:
        model = replace(model, threads=1)  # Ray gives each worker one processor
    work = partial(prune_block, choice=model, options=options.pruning, score_only=options.score_only)
    with _progress(journal.done, rows) as show:
        for outcomes in map_blocks(work, blocks(items(), options.block), ray=options.ray):
            problems = (f"row {n}: {one.error}" for n, one in enumerate(outcomes, journal.done + 1) if one.error)
            if not options.keep_broken and (first := next(problems, None)):
                raise DataError(f"{corpus.path}, {first}; or give --keep-broken, which resumes from here")
            journal.append(outcomes)
            show(journal.done)
    return passages


def _count(report: CorpusReport, journal: Journal) -> None:
    """Count the broken rows and those with warnings in a report."""
    report.broken = report.warned = 0
    warnings: list[str] = []
    for row, outcome in enumerate(journal.read(), 1):
        report.broken += outcome.error is not None
        report.warned += bool(outcome.warnings)
        warnings += [f"row {row}: {outcome.warnings[0]}"] if outcome.warnings and len(warnings) < _SHOWN else []
    report.warnings = tuple(warnings)


def prune_corpus(path: Path, out: Path, options: CorpusOptions | None = None) -> CorpusReport:
    """Prune, or score, the passages of each row for its query; see `open_corpus` and `form_of` for the formats.

    Outcomes are kept in a journal beside ``out`` until all rows are finished. A killed run resumes from it, and its
    output is the same as that of an uninterrupted run.

    Raises:
        InputError: An option is wrong, or a column is missing.
        DataError: The corpus cannot be read, has broken rows, or ``out`` cannot be written.
        SecateurError: The model cannot be loaded.
    """
    options = options or CorpusOptions()
    form = form_of(out)
    corpus = open_corpus(path)
    columns = find_columns(corpus, options.columns, options.query)
    report, single = _check(corpus, columns, options)
    if form != "lines" and len(single) > 1:
        problem = "some rows have one passage and some a list, which only JSON lines can hold"
        raise DataError(f"{path}: {problem}; write .jsonl")
    run = {
        "version": version("secateur"),
        "corpus": fingerprint(path),
        "model": fingerprint(resolve(options.model.model)),
        "options": options.as_key(),
    }
    place = out.with_name(f"{out.name}.journal")
    with open_journal(place, run, options.block, report.rows) as journal:
        report.earlier = journal.done
        started = time.perf_counter()
        passages = _run(corpus, columns, journal, report.rows, options)
        report.speed = passages / (time.perf_counter() - started)
        _count(report, journal)
        schema = {"errors": options.keep_broken, "single": single.pop(), "score_only": options.score_only}
        write(out, corpus, journal.read(), options.column, **schema)
        place.unlink()
    return report
