"""Encoding: a query and a passage's units become windows of tokens, with the unit of each text token."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from secateur.models.errors import InputError, ModelError
from secateur.models.types import Passage, Unit
from secateur.models.visible import visible_text

IntArray = NDArray[np.int32]

TITLE_SEPARATOR = ": "
_OVERLAP = 0.25  # largest share of a window's room that repeats the window before
_PID = os.getpid()  # process that imported `tokenizers`
_UNKNOWN = ("[UNK]", "<unk>")
_TITLE_SHARE = 0.25  # largest share of the room after the query that a title may take


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens around a pair, ``prefix query middle passage suffix``, and the token type of the passage."""

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    passage_type: int

    @property
    def specials(self) -> int:
        """Number of special tokens in a pair."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> PairTemplate:
        """Return a tokenizer's template, or raise a ModelError if it does not encode query, special tokens, passage."""
        probe: Encoding = tokenizer.encode("a", "b")
        ids, sequence = tuple(probe.ids), probe.sequence_ids
        if 0 not in sequence or 1 not in sequence:
            raise ModelError("the tokenizer does not encode a pair of texts; use one with a pair template")
        first, second = sequence.index(0), sequence.index(1)
        query_end, passage_end = first + sequence.count(0), second + sequence.count(1)
        if query_end == second:
            raise ModelError("the tokenizer puts no separator between the two texts of a pair")
        return cls(ids[:first], ids[query_end:second], ids[passage_end:], probe.type_ids[second])


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens of one forward pass for a query and a passage.

    Attributes:
        ids: int32[tokens], special tokens included.
        passage_start: Position of the first token of the title or, without one, of the text.
        text_start: Position of the first token of the text.
        token_unit: int32[text tokens], index of each text token's unit in its passage.
    """

    ids: IntArray
    passage_start: int
    text_start: int
    token_unit: IntArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class EncodedPassage:
    """A passage's windows for one query.

    Attributes:
        windows: Windows in the order of the text; every text token is in at least one.
        unit_tokens: int32[units], number of tokens of each unit, what the network does not read included.
        unit_source: int32[units], the unit whose score a unit takes: itself; for a unit inside a token of an earlier
            unit, that unit; -1 for a unit without tokens.
        title_cut: Whether the title was longer than its share of the window.
        unreadable: Share of the text's characters that are unknown to the tokenizer, in [0, 1].
    """

    windows: tuple[Window, ...]
    unit_tokens: IntArray
    unit_source: IntArray
    title_cut: bool
    unreadable: float = 0.0

    @property
    def running(self) -> tuple[Window, ...]:
        """The windows to run: none for a passage without tokens."""
        return self.windows if len(self.windows[0].token_unit) else ()


def token_units(offsets: IntArray, text: str, units: Sequence[Unit]) -> IntArray:
    """Map each token to the unit of its first character other than white space; return int32[tokens], ascending.

    Args:
        offsets: int32[tokens, 2], code-point spans of the tokens.
        text: Text of the passage.
        units: Units that tile the text; at least one.
    """
    # Tokens that begin with the space before a word (SentencePiece) belong to the word: the bounds are trimmed ends.
    bounds = [unit.start + len(text[unit.start : unit.end].rstrip()) for unit in units[:-1]]
    bounds_array = np.maximum.accumulate(np.asarray(bounds, dtype=np.int32)) if bounds else np.zeros(0, np.int32)
    return np.searchsorted(bounds_array, offsets[:, 0], side="right").astype(np.int32)


def plan_windows(unit_tokens: IntArray, room: int) -> list[tuple[int, int]]:
    """Cut a passage's tokens into overlapping ranges of at most ``room`` tokens, at unit boundaries where possible.

    Args:
        unit_tokens: int32[units], number of tokens of each unit.
        room: Tokens of text that fit one window, at least 1.

    Returns:
        Token ranges ``[start, end)`` that cover all tokens; a single empty one if there are none.
    """
    bounds = np.concatenate([[0], np.cumsum(unit_tokens)])
    total = int(bounds[-1])
    overlap = int(room * _OVERLAP)
    ranges = []
    start = 0
    while True:
        end = int(bounds[np.searchsorted(bounds, start + room, side="right") - 1])
        inside_unit = end <= start and total > 0
        if inside_unit:
            end = min(start + room, total)
        ranges.append((start, end))
        if end >= total:
            return ranges
        if inside_unit:
            start = max(end - overlap, start + 1)
        else:
            # Leave room for the next unit, or the next window would hold nothing new.
            next_end = int(bounds[np.searchsorted(bounds, end, side="right")])
            earliest = max(end - overlap, min(next_end - room, end), start + 1)
            start = int(bounds[np.searchsorted(bounds, earliest, side="left")])


class PairEncoder:
    """Turns pairs of query and passage into windows: the tokens of one forward pass, special tokens included."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "[SEP]" in a text is plain text
        self.template = PairTemplate.of(tokenizer)
        self.window = window
        self._tokenizer = tokenizer
        self._separator = tokenizer.encode(TITLE_SEPARATOR, add_special_tokens=False).ids
        self._unknown = next((tokenizer.token_to_id(n) for n in _UNKNOWN if tokenizer.token_to_id(n) is not None), -1)

    @property
    def max_query_tokens(self) -> int:
        """The most tokens of a query: half of the window."""
        return self.window // 2 - self.template.specials

    def encode_query(self, query: str, *, truncate: bool = False) -> tuple[list[int], bool]:
        """Return the query's token ids, and whether they were cut to `max_query_tokens`.

        Raises:
            InputError: The query is longer, and ``truncate`` is false.
        """
        ids: list[int] = self._tokenizer.encode(query, add_special_tokens=False).ids
        if len(ids) <= self.max_query_tokens:
            return ids, False
        if not truncate:
            room = f"the {self.max_query_tokens} that fit into half of the model's window"
            raise InputError("query", f"has {len(ids)} tokens, more than {room}", "shorten it or set truncate_query")
        return ids[: self.max_query_tokens], True

    def unreadable(self, text: str) -> float:
        """Return the share of a text's characters that are unknown to the tokenizer, in [0, 1]."""
        (encoding,) = self._encode_texts([text])
        return self._unreadable(encoding, text)

    def _unreadable(self, encoding: Encoding, text: str) -> float:
        if self._unknown not in encoding.ids:
            return 0.0
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        unknown = sum(len("".join(text[start:end].split())) for one, (start, end) in pairs if one == self._unknown)
        return unknown / max(1, len("".join(text.split())))

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, with long words counted in pieces."""
        (encoding,) = self._encode_texts([visible_text(text, ()).text])
        return len(encoding.ids)

    def encode(
        self, query_ids: Sequence[int], passages: Sequence[Passage], units: Sequence[Sequence[Unit]]
    ) -> list[EncodedPassage]:
        """Encode passages, and the units that tile the text of each, for the token ids of one query."""
        visible = [visible_text(p.text, its_units) for p, its_units in zip(passages, units, strict=True)]
        texts = self._encode_texts([one.text for one in visible])
        title_ids = iter(self._encode_texts([p.title for p in passages if p.title]))
        return [
            self._encode_one(
                query_ids,
                next(title_ids).ids if passage.title else [],
                encoding.ids,
                one.to_source(np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)),
                passage.text,
                its_units,
                self._unreadable(encoding, one.text),
            )
            for passage, one, encoding, its_units in zip(passages, visible, texts, units, strict=True)
        ]

    def _hidden_tokens(self, text: str, units: Sequence[Unit]) -> IntArray:
        """Return int32[units], the number of tokens of what the network does not read."""
        counts = np.zeros(len(units), np.int32)
        rows = [index for index, unit in enumerate(units) if unit.hidden]
        hidden = [" ".join(text[start:end] for start, end in units[index].hidden) for index in rows]
        # As the visible text, so that long words are counted in pieces.
        encodings = self._encode_texts([visible_text(one, ()).text for one in hidden])
        counts[rows] = [len(encoding.ids) for encoding in encodings]
        return counts

    def _encode_texts(self, texts: list[str]) -> list[Encoding]:
        if os.getpid() != _PID:
            # With TOKENIZERS_PARALLELISM=true, batches go to threads that a forked child does not have.
            return [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return self._tokenizer.encode_batch(texts, add_special_tokens=False) if texts else []

    def _encode_one(
        self,
        query_ids: Sequence[int],
        title_ids: list[int],
        text_ids: list[int],
        offsets: IntArray,
        text: str,
        units: Sequence[Unit],
        unreadable: float,
    ) -> EncodedPassage:
        head = [*self.template.prefix, *query_ids, *self.template.middle]
        room = self.window - len(head) - len(self.template.suffix)
        max_title = int(room * _TITLE_SHARE) - len(self._separator)
        title = [*title_ids[:max_title], *self._separator] if title_ids else []
        token_ids = text_ids if units else []
        token_unit = token_units(offsets, text, units) if units else np.zeros(0, np.int32)
        unit_tokens = np.bincount(token_unit, minlength=len(units)).astype(np.int32)
        windows = tuple(
            Window(
                ids=np.asarray([*head, *title, *token_ids[start:end], *self.template.suffix], dtype=np.int32),
                passage_start=len(head),
                text_start=len(head) + len(title),
                token_unit=token_unit[start:end],
            )
            for start, end in plan_windows(unit_tokens, room - len(title))
        )
        source = np.where(unit_tokens > 0, np.arange(len(units)), -1).astype(np.int32)
        for index in np.flatnonzero(unit_tokens == 0).tolist():
            unit = units[index]
            position = unit.end - len(text[unit.start : unit.end].lstrip())
            before = int(np.searchsorted(offsets[:, 0], position, side="right")) - 1
            if before >= 0 and offsets[before, 1] > position:
                source[index] = token_unit[before]
        unit_tokens = unit_tokens + self._hidden_tokens(text, units)
        return EncodedPassage(windows, unit_tokens, source, len(title_ids) > max_title, unreadable)
