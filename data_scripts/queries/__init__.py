"""Queries for documents: the user's own, by rule, and by a language model."""
