"""Losses, one a file, and the joint loss that a run combines of them."""

IGNORED = -100.0
"""Label of tokens that no loss counts: query, title, special tokens and padding."""
