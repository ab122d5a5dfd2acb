"""Published pruner checkpoints of other projects."""
