"""Pruning a whole dataset, row by row (`secateur prune-corpus`)."""
