"""Benchmarks of speed, memory and peers, run from a checkout: ``python -m benchmarks WHAT --data DIR``."""
