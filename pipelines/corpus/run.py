"""`secateur prune-corpus`: a dataset in, the same with one more column out; killed and run again, it goes on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from secateur.labelled.blocks import blocks, map_blocks
from secateur.labelled.fingerprints import fingerprint
from secateur.models.checkpoint import resolve
from secateur.models.errors import DataError, InputError
from secateur.models.options import PruneOptions
from secateur.models.requests import check_options
from secateur.pipelines.corpus.journal import Journal, open_journal
from secateur.pipelines.corpus.pruning import Item, ModelChoice, prune_block, request_of
from secateur.pipelines.corpus.rows import Asked, Columns, Corpus, find_columns, open_corpus
from secateur.pipelines.corpus.writing import form_of, write

log = logging.getLogger(__name__)

_SHOWN = 3  # broken rows in an error
_EVERY_S = 10.0  # between lines that say how far it is, where no bar can be shown


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How a corpus is pruned.

    Attributes:
        columns: where the rows have queries and passages.
        query: asked of all rows, instead of a column's.
        pruning: options of `Pruner.prune`.
        model: that runs, and how.
        score_only: write scores of passages and units, and no pruned texts.
        column: name of the new column.
        keep_broken: give a broken row no outcome but an error in a column of its own, instead of stopping.
        block: rows that run together, and that a kill can cost.
        ray: run on a Ray cluster; the result is the same.
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
            raise InputError("--block", f"{self.block} is no number of rows", "give 1 or more")
        if not self.column:
            raise InputError("--column", "is empty", "give the new column a name")


@dataclass(slots=True)
class CorpusReport:
    """What a run did.

    Attributes:
        rows: of the corpus.
        passages: of these rows.
        broken: rows without an outcome.
        earlier: rows that an earlier run had done.
        seconds: that the others took.
        passages_now: passages of these.
    """

    rows: int = 0
    passages: int = 0
    broken: int = 0
    earlier: int = 0
    seconds: float = 0.0
    passages_now: int = 0

    def lines(self) -> list[str]:
        """Return them for people to read."""
        said = [f"{self.rows} rows with {self.passages} passages; {self.broken} rows are broken"]
        if self.earlier:
            said.append(f"{self.earlier} rows had been done by an earlier run")
        if self.passages_now:
            said.append(f"{self.passages_now / max(self.seconds, 1e-9):.1f} passages a second")
        return said


@dataclass(slots=True)
class _Checked:
    """What the first look at all rows tells.

    Attributes:
        rows: their number.
        passages: of all rows that are not broken.
        single: whether rows have a text, a list, or either.
        problems: the first few broken rows'.
        broken: number of broken rows.
    """

    rows: int = 0
    passages: int = 0
    single: set[bool] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    broken: int = 0


def _check(corpus: Corpus, asked: Asked, options: CorpusOptions) -> _Checked:
    """Look at all rows before any is run."""
    checked = _Checked()
    for number, row in enumerate(corpus.read(), 1):
        checked.rows += 1
        if options.column in row or f"{options.column}_error" in row:
            raise InputError("--column", f"{corpus.path} has a column {options.column!r} already", "give another name")
        try:
            request, single = request_of(asked.of(row), options.pruning)
        except InputError as error:
            checked.broken += 1
            if len(checked.problems) < _SHOWN:
                checked.problems.append(f"row {number}: {error}")
        else:
            checked.passages += len(request.passages)
            checked.single.add(single)
    if checked.broken and not options.keep_broken:
        raise DataError(
            f"{corpus.path}: {checked.broken} of {checked.rows} rows are broken ({' | '.join(checked.problems)}); "
            "fix them, or give --keep-broken"
        )
    if checked.broken == checked.rows:
        raise DataError(f"{corpus.path}: no row can be pruned ({' | '.join(checked.problems) or 'it is empty'})")
    return checked


@contextmanager
def _told(done: int, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is: a bar on a terminal, otherwise a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        bar = Progress(TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
        with bar:
            task = bar.add_task("rows", total=total, completed=done)
            yield lambda rows: bar.update(task, completed=rows)
        return
    said = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _EVERY_S:
            said = time.monotonic()
            log.info("%d of %d rows", rows, total)

    yield tell


def _run(corpus: Corpus, asked: Asked, journal: Journal, rows: int, options: CorpusOptions) -> int:
    """Do the rows that are left; return how many passages they had."""
    passages = 0

    def items() -> Iterator[Item]:
        nonlocal passages
        for row in corpus.read(journal.done):
            item = asked.of(row)
            passages += len(item[1]) if isinstance(item[1], list) else 1
            yield item

    model = options.model
    if options.ray and model.threads is None:
        model = replace(model, threads=1)  # Ray gives each worker a processor
    work = partial(prune_block, choice=model, options=options.pruning, score_only=options.score_only)
    with _told(journal.done, rows) as tell:
        for outcomes in map_blocks(work, blocks(items(), options.block), ray=options.ray):
            for number, outcome in enumerate(outcomes, journal.done + 1):
                if outcome.error is not None and not options.keep_broken:
                    raise DataError(
                        f"{corpus.path}, row {number}: {outcome.error}; or give --keep-broken, which goes on from here"
                    )
            journal.append(outcomes)
            tell(journal.done)
    return passages


def prune_corpus(path: Path, out: Path, options: CorpusOptions | None = None) -> CorpusReport:
    """Prune, or score, the passages of each row for its query.

    Outcomes are kept in a journal beside ``out`` until all are there; a run that was killed goes on from it, and what
    it writes is what an unbroken one would have written.

    Args:
        path: of the corpus, see `open_corpus`.
        out: the same rows with one more column; its ending says the form, see `form_of`. Replaced at the end.
        options: how.

    Raises:
        InputError: an option is wrong, or a column is missing.
        DataError: the corpus cannot be read, has broken rows, or ``out`` cannot be written.
        SecateurError: the model cannot be loaded.
    """
    options = options or CorpusOptions()
    form = form_of(out)
    corpus = open_corpus(path)
    asked = find_columns(corpus, options.columns, options.query)
    checked = _check(corpus, asked, options)
    if form != "lines" and len(checked.single) > 1:
        raise DataError(f"{path}: some rows have one passage and some a list, which only JSON lines can hold")
    run = {
        "version": version("secateur"),
        "corpus": fingerprint(path),
        "model": fingerprint(resolve(options.model.model)),
        "options": json.dumps(_deciding(options), sort_keys=True, default=str),
    }
    report = CorpusReport(checked.rows, checked.passages)
    place = out.with_name(f"{out.name}.journal")
    with open_journal(place, run, options.block, checked.rows) as journal:
        report.earlier = journal.done
        started = time.perf_counter()
        report.passages_now = _run(corpus, asked, journal, checked.rows, options)
        report.seconds = time.perf_counter() - started
        report.broken = sum(outcome.error is not None for outcome in journal.read())
        single = next(iter(checked.single))
        write(
            out,
            corpus,
            journal.read,
            options.column,
            errors=options.keep_broken,
            single=single,
            score_only=options.score_only,
        )
        place.unlink()
    return report


def _deciding(options: CorpusOptions) -> dict[str, object]:
    """Return the options that an outcome depends on."""
    content = asdict(options)
    for name in ("column", "keep_broken", "ray"):
        del content[name]
    del content["model"]["model"], content["model"]["threads"]
    return content
