"""End-to-end RAG: answers with full, pruned and no context through an OpenAI-compatible endpoint, judged and priced."""
