"""Jobs that a user runs as a whole and that need several packages: fine-tuning, pruning a corpus."""
