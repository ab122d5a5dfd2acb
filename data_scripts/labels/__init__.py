"""Silver labels: which sentences of a passage answer a query."""
