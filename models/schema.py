"""Validation of the JSON files of a model directory.

A model directory may come from anywhere, so every value that is used has a type and bounds, and a wrong one is named
before anything is computed from it. Unknown keys are ignored: later versions, and transformers, write more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from secateur.models.errors import ModelError, shown

MAX_IDS = 2**24  # bound of vocabularies and positions; the largest vocabularies have about 2**18 tokens
Probability = Annotated[float, Field(ge=0, le=1)]
# Encoders that number positions from the padding token's id + 1.
_OFFSET_POSITIONS = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"}
    | {"xlm-roberta", "xlm-roberta-xl", "xmod"}
)


class Content(BaseModel):
    """Base of the JSON objects of a model directory: strict and immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Encoder(Content):
    """The values of an encoder's configuration that are used here, or that decide how much memory it takes."""

    model_type: str | None = Field(None, max_length=100)
    vocab_size: int | None = Field(None, ge=1, le=MAX_IDS)
    pad_token_id: int | None = Field(None, ge=0, le=MAX_IDS)
    max_position_embeddings: int | None = Field(None, ge=1, le=MAX_IDS)
    type_vocab_size: int | None = Field(None, ge=0, le=2**16)
    hidden_size: int | None = Field(None, ge=1, le=2**16)
    intermediate_size: int | None = Field(None, ge=1, le=2**20)
    num_hidden_layers: int | None = Field(None, ge=1, le=2**10)
    num_attention_heads: int | None = Field(None, ge=1, le=2**12)
    position_biased_input: bool = True

    @model_validator(mode="after")
    def _check_padding(self) -> Encoder:
        if self.pad_token_id is not None and self.vocab_size is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is no token of a vocabulary of {self.vocab_size}")
        return self

    @property
    def positions(self) -> int | None:
        """Largest number of tokens in one forward pass; None if unlimited or unknown."""
        if self.max_position_embeddings is None or not self.position_biased_input:  # DeBERTa: relative positions only
            return None
        padding = 1 if self.pad_token_id is None else self.pad_token_id
        return self.max_position_embeddings - (padding + 1 if self.model_type in _OFFSET_POSITIONS else 0)


_T = TypeVar("_T")


def validated(content: Mapping[str, Any], kind: type[_T], where: Path | str, prefix: str = "", fix: str = "") -> _T:
    """Return a JSON object as an instance of a class.

    Args:
        content: The object.
        kind: A pydantic model or a dataclass.
        where: The file, for the message.
        prefix: Where in the file the object is, for the message.
        fix: How to fix a wrong value, for the message.

    Raises:
        ModelError: A value is wrong; the message names it.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, (*([prefix] if prefix else []), *first["loc"])))
        problem = first["msg"].removeprefix("Value error, ")
        found = "" if first["type"] in ("missing", "value_error") else f" (found {shown(first['input'])})"
        raise ModelError(
            f"{where}: {f'{name}: ' if name else ''}{problem}{found}{f'; {fix}' if fix else ''}"
        ) from error
