"""Contestants of `python -m benchmarks peers`: our engine, the bare runtimes under it, and peers."""
