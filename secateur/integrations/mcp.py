"""MCP: a server with one tool, which prunes texts for a query; `secateur mcp` runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from secateur.context import format_context
from secateur.integrations.documents import Naming, as_passage
from secateur.integrations.engine import Engine
from secateur.integrations.settings import PruneSettings
from secateur.models.errors import MissingExtraError, SecateurError
from secateur.models.types import PruneResult

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as error:  # of version 1 too, where the server has another name
    raise MissingExtraError("mcp 2", "mcp") from error

from pydantic import BaseModel, Field

from secateur import __version__

_NAMING = Naming({"passages": "texts"})
_INSTRUCTIONS = (
    "Cuts long retrieved texts down to the sentences that help to answer a query, word for word, and ranks the texts. "
    "Use it on search results, files or notes before reading them."
)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the streamable HTTP transport listens."""

    host: str
    port: int


class PrunedText(BaseModel):
    """One text, pruned."""

    source: int = Field(description="Number of the text in the call, from 1.")
    score: float = Field(description="Relevance to the query, 0 to 1.")
    text: str = Field(description="The sentences worth reading; empty when there are none.")
    spans: list[tuple[int, int]] = Field(description="Where they stand in the text, [start, end) in characters.")


class Pruned(BaseModel):
    """What the tool returns."""

    context: str = Field(description="All kept sentences, by falling relevance, each block under [source].")
    texts: list[PrunedText] = Field(description="Each text by falling relevance.")
    input_tokens: int = Field(description="Tokens of all texts.")
    output_tokens: int = Field(description="Tokens that were kept.")
    warnings: list[str]


def make_server(settings: PruneSettings, log_level: Literal["INFO", "WARNING"] = "WARNING") -> MCPServer[Any]:
    """Return a server that prunes with a model here, or on a service when the settings have a `url`."""
    engine = Engine(settings)
    server: MCPServer[Any] = MCPServer("secateur", version=__version__, instructions=_INSTRUCTIONS, log_level=log_level)

    @server.tool(name="prune", title="Prune texts for a query", description=_INSTRUCTIONS)
    async def prune(
        query: Annotated[str, Field(description="The question that the texts should answer.")],
        texts: Annotated[list[str], Field(description="Texts to prune.")],
        max_tokens: Annotated[int | None, Field(description="Token budget over all texts together.")] = None,
        top_n: Annotated[int | None, Field(description="Return only the n most relevant texts.")] = None,
        target_recall: Annotated[
            float | None, Field(description="Share of answers to keep, such as 0.95, instead of the default bar.")
        ] = None,
    ) -> Pruned:
        changes = {"max_tokens": max_tokens, "top_n": top_n, "target_recall": target_recall}
        given = {name: value for name, value in changes.items() if value is not None}
        passages = [as_passage(text, None, None) for text in texts]
        try:
            with _NAMING.errors():
                result = await engine.aprune(query, passages, **{**settings.options(), **given})
        except SecateurError as error:
            raise ToolError(str(error)) from error
        return _pruned(_NAMING.result(result), len(texts))

    return server


def _pruned(result: PruneResult, count: int) -> Pruned:
    return Pruned(
        context=format_context(result, [None] * count),
        texts=[
            PrunedText(source=item.index + 1, score=item.score, text=item.text, spans=list(item.spans))
            for item in result.results
        ],
        input_tokens=result.usage.input_tokens,
        output_tokens=result.usage.output_tokens,
        warnings=list(result.warnings),
    )


def run(settings: PruneSettings, http: HttpAddress | None = None) -> None:
    """Serve until the client goes, or for streamable HTTP until a signal.

    Args:
        settings: who prunes, and how.
        http: where to listen; None for stdio.
    """
    if http is None:
        make_server(settings).run("stdio")
    else:
        # Where it listens is told at this level.
        make_server(settings, "INFO").run("streamable-http", host=http.host, port=http.port)
