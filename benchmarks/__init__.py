"""Benchmarks of speed and memory; every ratio comes from interleaved runs in one process."""
