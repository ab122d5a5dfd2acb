"""Jobs that a user runs as a whole and that go through several rooms: fine-tuning, pruning a corpus."""
