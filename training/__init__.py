"""Training: pairs from labelled examples, losses, the trainer, calibration, export and the model card."""
