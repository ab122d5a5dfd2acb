"""Dynamic batching: the requests of all connections share one engine per model."""
