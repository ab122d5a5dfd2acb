"""What a pruner is: segmentation, encoding, backends, selection, the `Pruner` and checkpoints."""
