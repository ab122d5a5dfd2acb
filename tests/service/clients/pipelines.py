"""Rerankers of LangChain, LlamaIndex, Haystack. Arguments: the server's URL, a JSON file of a query and documents."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

URL, ASKED = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
QUERY, DOCUMENTS = ASKED["query"], ASKED["documents"]
COUNT = len(DOCUMENTS)

Ranking = list[list[float]]


def langchain_documents() -> list[Any]:
    """Return the documents as LangChain's, which know their index."""
    from langchain_core.documents import Document

    return [Document(text, metadata={"index": index}) for index, text in enumerate(DOCUMENTS)]


def of_langchain(documents: Sequence[Any]) -> Ranking:
    """Return index and score of each document, whose text must be the original."""
    for document in documents:
        assert document.page_content == DOCUMENTS[document.metadata["index"]]
    return [[document.metadata["index"], document.metadata["relevance_score"]] for document in documents]


def langchain_cohere() -> Ranking:
    """`CohereRerank` of langchain-cohere."""
    from langchain_cohere import CohereRerank

    reranker = CohereRerank(base_url=URL, cohere_api_key="key", model="rerank-v3.5", top_n=COUNT)
    return of_langchain(reranker.compress_documents(langchain_documents(), QUERY))


def langchain_infinity() -> Ranking:
    """`InfinityRerank` of langchain-community."""
    from infinity_client import Client
    from langchain_community.document_compressors import InfinityRerank

    reranker = InfinityRerank(client=Client(base_url=URL), model="default", top_n=COUNT)
    return of_langchain(reranker.compress_documents(langchain_documents(), QUERY))


def of_llama_index(reranker: Any) -> Ranking:
    """Rerank nodes and return index and score of each."""
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(DOCUMENTS)]
    found = reranker.postprocess_nodes(nodes, query_str=QUERY)
    return [[int(node.node_id), node.score] for node in found]


def llama_index_cohere() -> Ranking:
    """`CohereRerank` of LlamaIndex."""
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return of_llama_index(CohereRerank(api_key="key", base_url=URL, model="rerank-v3.5", top_n=COUNT))


def llama_index_jina() -> Ranking:
    """`JinaRerank` of LlamaIndex."""
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return of_llama_index(JinaRerank(api_key="key", base_url=URL, top_n=COUNT))


def llama_index_tei() -> Ranking:
    """`TextEmbeddingInference` of LlamaIndex."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return of_llama_index(TextEmbeddingInference(base_url=URL, top_n=COUNT))


def of_haystack(ranker: Any, **arguments: Any) -> Ranking:
    """Rank documents and return index and score of each."""
    from haystack import Document

    documents = [Document(id=str(index), content=text) for index, text in enumerate(DOCUMENTS)]
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    found = ranker.run(query=QUERY, documents=documents, **arguments)["documents"]
    return [[int(document.id), document.score] for document in found]


def haystack_jina() -> Ranking:
    """`JinaRanker` of jina-haystack."""
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    return of_haystack(JinaRanker(api_key=Secret.from_token("key"), base_url=f"{URL}/v1/rerank"))


def haystack_cohere() -> Ranking:
    """`CohereRanker` of cohere-haystack."""
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    return of_haystack(CohereRanker(api_key=Secret.from_token("key"), api_base_url=URL, top_k=COUNT))


def haystack_tei() -> Ranking:
    """`HuggingFaceTEIRanker` of huggingface-api-haystack."""
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    return of_haystack(HuggingFaceTEIRanker(url=URL, top_k=COUNT))


CLIENTS: dict[str, tuple[Callable[[], Ranking], str]] = {
    "LangChain CohereRerank": (langchain_cohere, "langchain-cohere"),
    "LangChain InfinityRerank": (langchain_infinity, "langchain-community"),
    "LlamaIndex CohereRerank": (llama_index_cohere, "llama-index-postprocessor-cohere-rerank"),
    "LlamaIndex JinaRerank": (llama_index_jina, "llama-index-postprocessor-jinaai-rerank"),
    "LlamaIndex TextEmbeddingInference": (llama_index_tei, "llama-index-postprocessor-tei-rerank"),
    "Haystack JinaRanker": (haystack_jina, "jina-haystack"),
    "Haystack CohereRanker": (haystack_cohere, "cohere-haystack"),
    "Haystack HuggingFaceTEIRanker": (haystack_tei, "huggingface-api-haystack"),
}

if __name__ == "__main__":
    for name, (call, package) in CLIENTS.items():
        outcome: dict[str, Any] = {"client": name, "version": version(package)}
        try:
            outcome["ranking"] = call()
        except Exception:
            outcome["error"] = traceback.format_exc()
        print(json.dumps(outcome))  # noqa: T201
