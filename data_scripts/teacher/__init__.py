"""Relevance scores for queries and passages by a larger model."""
