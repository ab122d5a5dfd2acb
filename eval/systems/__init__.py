"""The systems that are compared: ours, baselines and published checkpoints."""
