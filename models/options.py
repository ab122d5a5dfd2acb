"""The table of pruning options: name, type, range, default and description of each.

The REST schema, the command line, the integrations, the clients and the documentation derive from it. A new option
takes one field of `PruneOptions` and its use in `secateur.models.selection`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from secateur.models.errors import unknown_name

_F = TypeVar("_F", bound=Callable[..., Any])

MAX_JOINER = 1000  # characters; the joiner is repeated for each gap
MAX_ENTRY = 1000  # characters of an entry of a list
MAX_ENTRIES = 100  # entries of a list


@dataclass(frozen=True, slots=True)
class Option:
    """An option. A field of `PruneOptions` gives the description and the range; `option_table` adds the rest.

    Attributes:
        description: Noun phrase for help and documentation.
        minimum: Lowest value, inclusive.
        maximum: Highest value, inclusive; for a string, its greatest length.
        kind: `bool`, `int`, `float` or `str`.
        optional: Whether the option may be None, which means unset.
        many: Whether the option is a list; kind and range are those of each entry.
    """

    description: str
    minimum: float | None = None
    maximum: float | None = None
    name: str = ""
    kind: type = str
    optional: bool = False
    many: bool = False
    default: Any = None

    @property
    def range(self) -> str:
        """The valid values as text: ``[0, 1]``, ``>= 1``, ``at most 9 characters``, or the empty string."""
        if self.kind is str:
            lengths = "at most" if self.minimum is None else f"{self.minimum:g} to"
            return "" if self.maximum is None else f"{lengths} {self.maximum:,g} characters"
        if self.minimum is not None and self.maximum is not None:
            return f"[{self.minimum:g}, {self.maximum:g}]"
        return "" if self.minimum is None else f">= {self.minimum:g}"

    @property
    def schema(self) -> dict[str, Any]:
        """The range as keywords of JSON Schema; for a list, those of its entries and its length."""
        low, high = ("minLength", "maxLength") if self.kind is str else ("minimum", "maximum")
        limits = {name: limit for name, limit in ((low, self.minimum), (high, self.maximum)) if limit is not None}
        return {"items": {"type": "string"} | limits, "maxItems": MAX_ENTRIES} if self.many else limits

    @property
    def type_name(self) -> str:
        """The type as text: ``int``, ``list of str``."""
        return f"list of {self.kind.__name__}" if self.many else self.kind.__name__


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """Keyword arguments of `Pruner.prune`: what to keep and how to return it.

    They are checked when they are used. `threshold` and `target_recall` exclude each other, as do `max_tokens` and
    `compression`. An entry of `always_keep` or `never_keep` is the name of a set (`errors` or `numbers`), a pattern in
    RE2 syntax after `re:`, or text that is looked for as it is; see `secateur.models.patterns`.
    """

    threshold: Annotated[
        float | None, Option("Lowest keep probability of a kept unit; the model's own threshold if unset.", 0, 1)
    ] = None
    target_recall: Annotated[
        float | None, Option("Share of answering units to keep on average; used instead of a threshold.", 0, 1)
    ] = None
    max_tokens: Annotated[
        int | None, Option("Token budget over all returned passages; the units with the highest scores fill it.", 1)
    ] = None
    compression: Annotated[
        float | None,
        Option(
            "Share of the input tokens to drop, used instead of max_tokens; unless a threshold is given, the units with"
            " the highest scores fill the budget.",
            0,
            1,
        ),
    ] = None
    top_n: Annotated[int | None, Option("Largest number of returned passages, the most relevant first.", 1)] = None
    min_score: Annotated[float | None, Option("Lowest relevance of a returned passage.", 0, 1)] = None
    min_units: Annotated[int, Option("Number of units kept in every passage, whatever their scores.", 0)] = 0
    keep_relevant: Annotated[
        bool,
        Option(
            "Whether to keep the best unit of a passage with a relevance of at least 0.5 from which no other is kept."
        ),
    ] = True
    keep_structure: Annotated[
        bool | None,
        Option(
            "Whether to keep the structure that a kept unit needs, such as headings and table headers; on for all"
            " formats but `text` if unset."
        ),
    ] = None
    always_keep: Annotated[
        tuple[str, ...],
        Option(
            "Units to keep, whatever their scores: the set `errors` or `numbers`, `re:PATTERN` in RE2 syntax, or"
            " literal text.",
            1,
            MAX_ENTRY,
        ),
    ] = ()
    never_keep: Annotated[
        tuple[str, ...],
        Option("Units to drop, whatever their scores, named as for `always_keep`.", 1, MAX_ENTRY),
    ] = ()
    neighbours: Annotated[int, Option("Number of units kept before and after each kept one.", 0)] = 0
    head: Annotated[int, Option("Number of units kept at the start of every passage.", 0)] = 0
    tail: Annotated[int, Option("Number of units kept at the end of every passage.", 0)] = 0
    dedupe: Annotated[bool, Option("Whether to drop units that repeat a kept unit of a more relevant passage.")] = False
    reorder: Annotated[bool, Option("Whether to order passages by falling relevance instead of as given.")] = True
    drop_empty: Annotated[bool, Option("Whether to leave out passages without a kept unit.")] = False
    joiner: Annotated[str, Option("Text put between kept spans.", maximum=MAX_JOINER)] = " "
    gap_marker: Annotated[
        str | None,
        Option(
            "Text put where units were dropped. {lines}, {units}, {tokens}, {characters}, {first_line} and {last_line}"
            " are filled in.",
            maximum=MAX_JOINER,
        ),
    ] = None
    gap_marker_ends: Annotated[
        bool, Option("Whether to mark what was dropped before the first and after the last kept span, too.")
    ] = False
    return_units: Annotated[bool, Option("Whether to return every unit with its score.")] = False
    truncate_query: Annotated[
        bool,
        Option("Whether to shorten a query longer than half the window instead of refusing it."),
    ] = False

    @classmethod
    def of(cls, **options: Any) -> PruneOptions:
        """Return options from keyword arguments, whose values are checked later by `requests.check_options`.

        Raises:
            InputError: There is no such option; the message names the closest ones.
        """
        unknown = [name for name in options if name not in option_table()]
        if unknown:
            raise unknown_name(unknown[0], "option", unknown[0], option_table())
        return cls(**options)


@cache
def option_table() -> dict[str, Option]:
    """Return the options by name, in the order of the fields of `PruneOptions`."""
    options = {}
    hints = get_type_hints(PruneOptions, include_extras=True)
    for one in fields(PruneOptions):
        hint, option = get_args(hints[one.name])
        optional, many = get_origin(hint) is UnionType, get_origin(hint) is tuple
        kind = next(kind for kind in get_args(hint) if kind is not type(None)) if optional or many else hint
        options[one.name] = replace(option, name=one.name, kind=kind, optional=optional, many=many, default=one.default)
    return options


def option_markdown() -> str:
    """Return the `option_table` in Markdown, for the documentation."""
    rows = [("option", "type", "default", "range", "description"), ("---",) * 5]
    for name, option in option_table().items():
        default = "" if option.default is None else f"`{json.dumps(option.default)}`"
        rows.append((f"`{name}`", option.type_name, default, option.range, option.description))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def with_options(function: _F) -> _F:
    """Replace ``**options`` in a function's signature by the options, for `help` and editors."""
    hints = get_type_hints(PruneOptions)
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=hints[name])
        for name, option in option_table().items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return function
