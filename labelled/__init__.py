"""Labelled examples and the files they lie in: what training, evaluation and the data steps read and write."""
