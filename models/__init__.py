"""What a pruner is: segmentation, encoding, backends, selection, the `Pruner`, checkpoints and export."""
