"""Evaluation of pruning and reranking: quality against baselines, reports, needle test, robustness, RAG."""
