"""Rerank APIs of other services, translated to and from the library's types."""
