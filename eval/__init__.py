"""Measuring: pruning and reranking quality, segmentation, speed and memory."""
