"""Finding the passages that a query's answer may stand in: BM25, dense, fused."""
