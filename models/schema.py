"""What the JSON files of a model directory may hold: types and bounds of every value that is used.

A model directory may come from anywhere, so a wrong value is refused by name before anything is computed from it.
Keys that are not listed are passed over: later versions, and transformers, write more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from secateur.models.errors import ModelError, shown

_MAX_IDS = 2**24  # tokens of a vocabulary, and positions; the largest vocabularies have some 2**18
Probability = Annotated[float, Field(ge=0, le=1)]
# Encoders that number positions from behind the padding token's id.
_OFFSET_POSITIONS = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"}
    | {"xlm-roberta", "xlm-roberta-xl", "xmod"}
)


class Content(BaseModel):
    """Base of the JSON objects of a model directory: strict, read-only; unknown keys are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Section(Content):
    """The `secateur` section of `config.json`; `ModelConfig` checks what its values mean."""

    name: str = Field(min_length=1, max_length=255)
    window: int = Field(512, le=_MAX_IDS)
    rank_head: str = Field("", max_length=100)
    prune_head: str = Field("", max_length=100)
    segmenter: str = Field("", max_length=100)
    threshold: float = 0.0
    title: StrictBool = True
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_printable(self) -> Section:
        # It goes into logs, metrics and answers.
        if not self.name.isprintable():
            raise ValueError("name must consist of printable characters")
        return self


class Encoder(Content):
    """The numbers of an encoder's configuration that are used here, or that decide how much memory it takes."""

    model_type: str | None = Field(None, max_length=100)
    vocab_size: int | None = Field(None, ge=1, le=_MAX_IDS)
    pad_token_id: int | None = Field(None, ge=0, le=_MAX_IDS)
    max_position_embeddings: int | None = Field(None, ge=1, le=_MAX_IDS)
    type_vocab_size: int | None = Field(None, ge=0, le=2**16)
    hidden_size: int | None = Field(None, ge=1, le=2**16)
    intermediate_size: int | None = Field(None, ge=1, le=2**20)
    num_hidden_layers: int | None = Field(None, ge=1, le=2**10)
    num_attention_heads: int | None = Field(None, ge=1, le=2**12)
    position_biased_input: bool = True

    @model_validator(mode="after")
    def _padding_is_a_token(self) -> Encoder:
        if self.pad_token_id is not None and self.vocab_size is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is no token of a vocabulary of {self.vocab_size}")
        return self

    @property
    def positions(self) -> int | None:
        """Most tokens that the encoder reads at once; None where it has no such limit, or does not tell."""
        if self.max_position_embeddings is None or not self.position_biased_input:  # DeBERTa: relative positions only
            return None
        padding = 1 if self.pad_token_id is None else self.pad_token_id
        return self.max_position_embeddings - (padding + 1 if self.model_type in _OFFSET_POSITIONS else 0)


_T = TypeVar("_T", bound=Content)


def validated(content: Mapping[str, Any], kind: type[_T], where: Path | str, prefix: str = "", fix: str = "") -> _T:
    """Return content as an object of a class.

    Args:
        content: of a JSON object.
        kind: the class.
        where: the file, for the message.
        prefix: of the field's name, for the message.
        fix: how to put it right, for the message.

    Raises:
        ModelError: a value is wrong; the message names it.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, (*([prefix] if prefix else []), *first["loc"])))
        problem = first["msg"].removeprefix("Value error, ")
        found = "" if first["type"] in ("missing", "value_error") else f" (found {shown(first['input'])})"
        raise ModelError(
            f"{where}: {f'{name}: ' if name else ''}{problem}{found}{f'; {fix}' if fix else ''}"
        ) from error
