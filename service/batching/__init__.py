"""Dynamic batching: the requests of all connections share one engine thread a model."""
