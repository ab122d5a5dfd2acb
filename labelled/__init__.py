"""Labelled examples, the files they are stored in, and tools for them that several packages share."""
