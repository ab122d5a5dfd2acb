"""Sentences that do not read without the one before them."""

from __future__ import annotations

import re

from secateur.models.formats.building import UnitBuilder

_OPENING = re.compile(
    r"(?:[\s>*_\"'“‘(]|</?[a-zA-Z][^<>]{0,200}>)*+"
    r"(?:(?:This|That|These|Those|Its?|They|Them|Their|He|She|His|Her|Such|But|However|Yet|So|Thus|Hence|Therefore"
    r"|Otherwise|Instead|Nevertheless|Consequently)\b(?! (?:is|was|may be|can be|seems) [a-z]+ (?:to|that)\b)"
    r"|(?:A\d{0,3}|Answer):\s)"
)
_LONGEST_CHAIN = 8  # sentences that need each the one before
_SENTENCES = ("sentence", "list_item", "quote")


def need_before(building: UnitBuilder, units: range) -> None:
    """Make each of the units that opens with a word like This, It or But need the sentence before it.

    So does an answer after ``A:``. What stands between the two is markup.
    """
    for index in units:
        before = index - 1
        while before >= 0 and building.units[before].kind == "markup":
            before -= 1
        if (
            before >= 0
            and building.units[before].kind in _SENTENCES
            and building.chained.get(before, 0) < _LONGEST_CHAIN
            and _OPENING.match(building.text, building.units[index].start, building.units[index].end)
        ):
            building.also_need((index,), (before,))
            building.chained[index] = building.chained.get(before, 0) + 1
