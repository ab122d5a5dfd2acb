"""Making training data."""
