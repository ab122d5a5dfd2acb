"""Secateur inside the frameworks that people build RAG pipelines with; each module needs its framework's extra."""
