"""Formats: how a text of each kind is cut into units."""
