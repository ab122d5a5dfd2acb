"""Fine-tuning: pairs from labelled examples, losses, the trainer and the model card."""
