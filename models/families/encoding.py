"""Encoding pairs as a family's checkpoints were trained on them."""

from __future__ import annotations

import string
from dataclasses import replace

from tokenizers import Tokenizer

from secateur.models.encoding import PairEncoder
from secateur.models.families.known import Family

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def plain(query: str) -> str:
    """Return a query in lower case, without ASCII punctuation, with single spaces; as it is if nothing would be left.

    Examples:
        >>> plain("What goes on the bottom of Shepherd's pie?")
        'what goes on the bottom of shepherds pie'
    """
    return " ".join(query.lower().translate(_NO_PUNCTUATION).split()) or query


class FamilyEncoder(PairEncoder):
    """A `PairEncoder` with a family's separators and its way of writing queries.

    Args:
        tokenizer: the checkpoint's tokenizer.
        window: tokens that the model reads at once, special tokens included.
        family: of the checkpoint.
    """

    def __init__(self, tokenizer: Tokenizer, window: int, family: Family) -> None:
        super().__init__(tokenizer, window)
        self._plain_query = family.plain_query
        if family.one_separator:
            self.template = replace(self.template, middle=self.template.middle[:1])
            self.max_query_tokens = window // 2 - self.template.specials

    def encode_query(self, query: str, *, truncate: bool = False) -> tuple[list[int], bool]:
        """Return the token ids of the query as the family writes it; see `PairEncoder.encode_query`."""
        return super().encode_query(plain(query) if self._plain_query else query, truncate=truncate)
